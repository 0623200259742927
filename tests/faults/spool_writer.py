"""A process that appends to a spool, says what was acknowledged, and dies without closing.

    python spool_writer.py DIRECTORY REQUESTS die|go-on

`die` is at the first refusal, `go-on` after the last request.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import trio

from collector.errors import SpoolUnavailable

sys.path.insert(0, str(Path(__file__).parents[1]))


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


async def main(directory: Path, requests: int, *, die: bool) -> None:
    from fakes.spools import chunk, spool_in  # noqa: PLC0415 (tests/ is on the path only now)

    async with spool_in(directory) as spool:
        say("open")
        for number in range(requests):
            body = b'[{"timestamp":1,"sourceId":"s","eventName":"e","n":%d}]' % number
            try:
                await spool.submit(chunk(1, body=body)).committed()
            except SpoolUnavailable:
                say(f"refused {number}")
                if die:
                    break
            else:
                say(f"acknowledged {number}")
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    trio.run(lambda: main(Path(sys.argv[1]), int(sys.argv[2]), die=sys.argv[3] == "die"))
