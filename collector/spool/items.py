"""Single items of a group, run so that each fails alone."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from collector.errors import SpoolUnavailable

if TYPE_CHECKING:
    from collector.spool.worker import Chore, Work

ITEM_ERRORS = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
"""What SQLite says of one statement; all else it says is of the disk or the file."""


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
