"""A server on a free port of loopback, for as long as a test needs it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable


@asynccontextmanager
async def serving(handler: Callable[[trio.SocketStream], Awaitable[object]]) -> AsyncGenerator[int]:
    """Have each connection handled; gives the port. At the end those that are open are cancelled."""
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()
