"""A side: the listener with the spool left out. Prints its port, and serves until it is killed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import trio

from collector.config.model import Listener
from collector.core.limits import ConnectionLimits
from collector.host import garbage
from collector.host.clock import Clocks
from collector.host.memory import return_large_blocks
from collector.listener.admission import Admission
from collector.listener.bind import bind
from collector.listener.ingest import PATH, Ingest
from collector.listener.policy import Policy
from collector.listener.routes import Site
from collector.listener.serve import Server

if TYPE_CHECKING:
    from collections.abc import Callable


class Kept:
    """A place in no commit: it is there at once."""

    async def committed(self) -> None:
        """Wait for nothing."""

    def then(self, tell: Callable[[Exception | None], None]) -> bool:
        """Tell it at once."""
        tell(None)
        return True


class Nowhere:
    """Takes all chunks and keeps none."""

    def submit(self, chunk: object) -> Kept:
        """Forget a chunk."""
        return Kept()


async def serve() -> None:
    """Serve one port of 127.0.0.1."""
    listener = Listener(bind="127.0.0.1:0")
    policy = Policy(takes=lambda *_: True, secrets={})
    wall_ms = Clocks().wall_ms
    endpoint = Ingest(Nowhere(), policy, wall_ms=wall_ms)
    site = Site({PATH: {"POST": endpoint}}, Admission.of(listener), ConnectionLimits(), wall_ms=wall_ms)
    sockets = bind(listener.bind)
    async with trio.open_nursery() as nursery:
        await nursery.start(Server(sockets, site).run)
        print(sockets[0].address.rpartition(":")[2], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    return_large_blocks()
    garbage.settle_in()
    trio.run(serve)
