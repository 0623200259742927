"""How blocking work leaves the event loop: the runner is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Runner(Protocol):
    """Runs a blocking function; `trio.to_thread.run_sync`, or inline under a mock clock."""

    async def __call__(self, work: Callable[[], T], /) -> T:
        """Call `work`, and return what it returns or raise what it raises."""
