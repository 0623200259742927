"""A long, narrow link to a port of loopback: `python far.py PORT DELAY RATE` prints its own port.

DELAY is in seconds one way, RATE in bytes a second. For each line that it reads it prints how many bytes have
gone to the port so far.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fakes.relay import Relay


async def serve(port: int, delay: float, rate: float) -> None:
    """Serve until there is nothing more to read."""
    async with Relay(port, delay=delay, rate=rate).serving() as relay:
        print(relay.port, flush=True)
        while await trio.to_thread.run_sync(sys.stdin.readline):
            print(relay.passed, flush=True)


if __name__ == "__main__":
    trio.run(serve, int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
