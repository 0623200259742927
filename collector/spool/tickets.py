"""Places in a commit to come, for those who wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Ticket:
    """A place in a commit to come. Who waits for it either awaits `committed` or leaves word by `then`.

    Attributes:
        settled: whether it is decided what became of it.
    """

    __slots__ = ("_done", "_error", "_tell", "settled")

    def __init__(self) -> None:
        self.settled = False
        self._error: Exception | None = None
        self._done: trio.Event | None = None
        self._tell: Callable[[Exception | None], None] | None = None

    async def committed(self) -> None:
        """Wait until the commit that holds this is on disk.

        Raises:
            SpoolUnavailable: it was refused; nothing of it was kept.
        """
        if not self.settled:
            if self._done is None:
                self._done = trio.Event()
            await self._done.wait()
        else:
            await trio.lowlevel.checkpoint()
        if self._error is not None:
            raise self._error

    def then(self, tell: Callable[[Exception | None], None]) -> bool:
        """Have `tell` called when it is settled, once, with what `committed` would raise; it must not raise.

        Returns:
            Whether it will be called; if not, `committed` is the only way.
        """
        if self.settled:
            tell(self._error)
        else:
            self._tell = tell
        return True

    def settle(self, error: Exception | None) -> None:
        """Called on the event loop's thread, once."""
        self._error = error
        self.settled = True
        if self._tell is not None:
            self._tell(error)
        if self._done is not None:
            self._done.set()


class ResultTicket(Ticket, Generic[T]):
    """A ticket for work that returns something."""

    __slots__ = ("result",)

    def __init__(self) -> None:
        super().__init__()
        self.result: T | None = None
