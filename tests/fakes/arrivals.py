"""Somebody at the door who wants a seat, and takes none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from collector.listener.lobby import Arrival

if TYPE_CHECKING:
    from collections.abc import Hashable

    from collector.listener.seats import Seats


async def free(seats: Seats, owner: Hashable = "somebody else") -> None:
    """Wait in the lobby until there is a seat, which is left free."""
    free = trio.Event()
    away = seats.ask(Arrival(owner, free, free.set, free.set))
    assert away is None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(seats.keep_clearing)
            await free.wait()
            nursery.cancel_scope.cancel()
    finally:
        seats.lobby.withdraw(free)
