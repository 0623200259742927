"""The spool's reading side: one connection, one function at a time, each on one state of the spool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

T = TypeVar("T")


class Reader(Protocol):
    """Runs functions on the reading connection, each on one state of the spool."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run one function; commits meanwhile change nothing of what it sees."""

    async def close(self) -> None:
        """Close the connection, once what runs has ended."""


class InlineReader:
    """Runs them on the caller's thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run one function."""
        await trio.lowlevel.checkpoint()
        return _at_one_moment(work, self._connection)

    async def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class ThreadReader:
    """Runs them one at a time on worker threads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._turn = trio.CapacityLimiter(1)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run one function."""
        return await trio.to_thread.run_sync(_at_one_moment, work, self._connection, limiter=self._turn)

    async def close(self) -> None:
        """Close the connection."""
        await trio.to_thread.run_sync(self._connection.close, abandon_on_cancel=True, limiter=self._turn)


def _at_one_moment(work: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
    """Run a function in a read transaction: a lane and its chunks must be of one moment."""
    connection.execute("BEGIN")
    try:
        return work(connection)
    finally:
        # There is nothing to commit. SQLite may have ended the transaction itself, on an error.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
