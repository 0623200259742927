"""An upstream that repeats what it was sent: no event's content is in the log, the status or the metrics."""

from __future__ import annotations

import json
import socketserver
import tarfile
import threading
from contextlib import ExitStack

import pytest
from fakes.daemon import LISTENERS, Client, until

pytestmark = pytest.mark.system

PLANTED = "planted-4a1c9f"
WORD = PLANTED.encode()


def answered(status, headers, body=b""):
    head = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*head, b"", body])


def named(body):
    return json.dumps([event["eventName"] for event in json.loads(body)]).encode()


TEXT = b"Content-Type: text/plain"
ECHOES = {
    "unauthorised": lambda body: answered(b"401 No", [TEXT], body),
    "json": lambda body: answered(b"418 No", [b"Content-Type: application/json"], body),
    "phrase": lambda _: answered(b"403 " + WORD, []),
    "later": lambda body: answered(b"503 Later", [b"Retry-After: " + WORD], body),
    "too-large": lambda body: answered(b"413 Large", [TEXT], body),
    "refused": lambda body: answered(b"400 Bad", [TEXT], body),
    "named": lambda body: answered(b"422 Bad", [TEXT], named(body)),
    "page": lambda body: answered(b"200 OK", [b"Content-Type: text/html"], body),
    "moved": lambda _: answered(b"302 Found", [b"Location: http://" + WORD]),
    "type": lambda body: answered(b"410 Gone", [b"Content-Type: " + WORD + b"/" + WORD], body),
    "date": lambda body: answered(b"401 No", [b"Date: " + WORD], body),
    "error": lambda body: answered(b"500 Error", [], body),
    "no-http": lambda body: body + b"\r\n\r\n",
    "status-line": lambda _: b"HTTP/1.1 " + WORD + b"\r\n\r\n",
    "header": lambda _: b"HTTP/1.1 200 OK\r\n" + WORD + b" is here\r\n\r\n",
    "length": lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: " + WORD + b"\r\n\r\n",
    "chunk": lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + WORD + b"\r\n",
    "coding": lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + WORD + b"\r\n\r\n",
}


class Echo(socketserver.ThreadingTCPServer):
    """Answers each request by what `made` makes of its body, and closes the connection."""

    allow_reuse_address = True

    def __init__(self, made):
        self.made = made
        self.requests = 0
        super().__init__(("127.0.0.1", 0), Handler)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), name="echo").start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        length = 0
        while (line := self.rfile.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = self.rfile.read(length)
        if WORD in body:
            self.wfile.write(self.server.made(body))
            self.server.requests += 1


def config(servers, level):
    upstreams = [
        f'[[upstream]]\nname = "{name}"\nkind = "samsara"\nsigning = "none"\ncompress = false\n'
        f'url = "http://127.0.0.1:{server.server_address[1]}/v1/events"\nhttp2 = false\n'
        'backoff = { initial = "50ms", max = "1s" }\n'
        for name, server in servers.items()
    ]
    return f'{LISTENERS}\n[log]\nlevel = "{level}"\n' + "\n".join(upstreams)


def bundled(daemon, name):
    made = daemon.run("support-bundle", "-o", str(daemon.home / name), "--log", str(daemon.log_file))
    assert made.returncode == 0, made.stderr
    with tarfile.open(daemon.home / name) as archive:
        files = [archive.extractfile(member).read() for member in archive.getmembers()]
    return b"\n".join(files).decode()


def said(daemon):
    """Everything that the daemon tells who asks how it is."""
    answers = [daemon.ask(path).body for path in ("/v1/status", "/v1/lanes", "/v1/upstreams", "/metrics")]
    answers += [daemon.run(command).stdout for command in ("status", "doctor")]
    return b"\n".join([*answers, daemon.run("upstream", "list").stdout]).decode()


def test_what_an_upstream_repeats_of_an_event_is_told_to_nobody_but_who_asks_for_it(make_daemon):
    events = [
        {"timestamp": 1, "sourceId": "till", "eventName": f"{PLANTED} {n}", "data": {PLANTED: PLANTED}}
        for n in range(3)
    ]
    with ExitStack() as stack:
        servers = {name: stack.enter_context(Echo(made)) for name, made in ECHOES.items()}
        daemon = make_daemon(config(servers, "info"))
        daemon.start()
        with Client(daemon.socket) as client:
            posted = client.ask(
                "POST", "/v1/events", json.dumps(events).encode(), {"Content-Type": "application/json"}
            )
        assert posted.status == 202

        def all_told():
            lanes = daemon.status()["lanes"]
            return len(lanes) == len(ECHOES) and all(
                lane["state"] in {"retrying", "blocked"} or lane["dead_letters"] for lane in lanes
            )

        until(all_told, "each upstream has answered")
        assert all(server.requests for server in servers.values())
        assert PLANTED not in daemon.log()
        assert PLANTED not in said(daemon)
        assert PLANTED not in bundled(daemon, "info.tar.gz")
        # Who looks at what was refused, or has all told, sees it.
        assert PLANTED in daemon.run("dead-letters", "list").stdout.decode()
        daemon.configure(config(servers, "debug"))
        with Client(daemon.admin) as client:
            assert client.ask("POST", "/v1/reload").status == 200
        until(lambda: PLANTED in daemon.log(), "an upstream's words are in the log")
        assert PLANTED not in said(daemon)
        assert PLANTED not in bundled(daemon, "debug.tar.gz")
        assert daemon.stop() == 0
