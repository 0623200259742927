"""How blocking work leaves the event loop: the runner is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def abandonable(work: Callable[[], T]) -> T:
    """Run on a thread that is left to itself when its caller is cancelled.

    A disk that is dead must not hold a stop up.
    """
    return await trio.to_thread.run_sync(work, abandon_on_cancel=True)


class Runner(Protocol):
    """Runs a blocking function; `trio.to_thread.run_sync`, or inline under a mock clock."""

    async def __call__(self, work: Callable[[], T], /) -> T:
        """Call `work`, and return what it returns or raise what it raises."""
