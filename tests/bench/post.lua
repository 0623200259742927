-- wrk's script: posts the requests of the file that REQUESTS names, one after the other.
local requests, position, step = {}, 0, 0

function setup(thread)
   thread:set("offset", step)
   step = step + 1
end

function init(args)
   local file = assert(io.open(os.getenv("REQUESTS"), "rb"))
   local size = file:read("*n", "*l")
   while size do
      requests[#requests + 1] = file:read(size)
      size = file:read("*n", "*l")
   end
   file:close()
   position = offset * 97
end

function request()
   position = position % #requests + 1
   return requests[position]
end

function done(summary, latency, stats)
   local errors = summary.errors
   io.write(string.format(
      '\nRESULT {"requests": %d, "seconds": %.6f, "failed": %d, "p50": %.3f, "p99": %.3f, "p999": %.3f}\n',
      summary.requests, summary.duration / 1e6,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
end
