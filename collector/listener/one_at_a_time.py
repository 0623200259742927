"""What takes long is done on another thread, one thing after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from collector.listener.capacity import Capacity

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")


class OneAtATime:
    """Runs one function after the other on a worker thread, so that their memory never adds up.

    Peers have it in turns: however much one brings, others wait for one of its bodies at most.
    """

    def __init__(self) -> None:
        self._turns = Capacity(body_bytes=1)

    async def __call__(self, function: Callable[[], T], owner: Hashable) -> T:
        """What the function returns; of one owner's, those that were asked for first are first."""
        await self._turns.hold(1, owner)
        try:
            return await trio.to_thread.run_sync(function)
        finally:
            self._turns.release(1)
