"""What is put to the writer, and single items of a group run so that each fails alone."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.errors import SpoolUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from collector.spool.store import NewChunk
    from collector.spool.tickets import Ticket

ITEM_ERRORS = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
"""What SQLite says of one statement; all else it says is of the disk or the file."""


@dataclass(slots=True)
class Append:
    """A chunk to be appended; it may be refused alone, where the group leaves no room."""

    chunk: NewChunk
    ticket: Ticket
    error: Exception | None = None


@dataclass(slots=True)
class Work:
    """Something to be done in the group's transaction; it fails alone.

    Attributes:
        appends: whether `run` may append, so that it is refused while the disk is full.
        grown: the streams (dialect, product) that `run` has appended to, past the store.
        undo: takes back, on the writer's thread, what `run` has done beside the database; called where
            its transaction came to nothing.
    """

    run: Callable[[sqlite3.Connection], None]
    ticket: Ticket
    appends: bool = False
    error: Exception | None = None
    grown: Collection[tuple[str, str]] = ()
    undo: Callable[[], None] | None = None


@dataclass(slots=True)
class Chore:
    """Something for the writer's thread that no transaction may hold."""

    run: Callable[[], object]
    ticket: Ticket
    error: Exception | None = None


Item = Append | Work | Chore


def run_alone(connection: sqlite3.Connection, item: Work) -> None:
    """Run one item's work so that its failure undoes it and nothing else."""
    item.error = None
    connection.execute("SAVEPOINT work")
    try:
        item.run(connection)
    except Exception as error:
        if isinstance(error, sqlite3.Error) and not isinstance(error, ITEM_ERRORS):
            raise  # the disk's or the file's fault concerns the whole group
        connection.execute("ROLLBACK TO work")
        undo(item)
        item.error = error
    connection.execute("RELEASE work")


def undo(item: Work) -> None:
    """Take back what an item did beside the database."""
    if item.undo is not None:
        item.undo()
        item.undo = None


def attempt(item: Chore) -> None:
    """Do a chore; what it raises is its error."""
    try:
        item.run()
    except SpoolUnavailable as error:
        item.error = error
    except Exception as error:  # noqa: BLE001 (as for a group)
        item.error = SpoolUnavailable(unexpected(error))


def unexpected(error: Exception) -> str:
    """What is told of a defect."""
    return f"unexpected {type(error).__name__}: {error}"
