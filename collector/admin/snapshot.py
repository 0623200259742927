"""A spool's database as of one moment, to be read without touching it, with a daemon or without.

The database and its write-ahead log are copied: SQLite cannot read a log in a directory
that it may not write to, and reading in place could check it in. A daemon may be writing
meanwhile. While it only appends to its log, a copy of that is cut short at worst; where it
moved pages into the database, the copy is made again.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from collector.errors import SpoolUnavailable
from collector.spool.database import open_reader
from collector.spool.spool import DATABASE_FILE

if TYPE_CHECKING:
    from collections.abc import Generator

COPIES = 5
"""How often a copy is tried while a daemon writes."""


@contextmanager
def snapshot(directory: Path) -> Generator[sqlite3.Connection]:
    """A connection to a copy of a spool's database, which is there.

    Raises:
        SpoolUnavailable: it cannot be copied or opened.
    """
    path = directory / DATABASE_FILE
    with tempfile.TemporaryDirectory(prefix="waystation-") as place:
        try:
            copy = Path(place) / DATABASE_FILE
            _copy(path, copy)
            connection = open_reader(copy)
        except (OSError, sqlite3.Error) as error:
            raise SpoolUnavailable(f"{path} cannot be read: {error}") from error
        with closing(connection):
            yield connection


def _copy(path: Path, copy: Path) -> None:
    log, copied_log = Path(f"{path}-wal"), Path(f"{copy}-wal")
    for _ in range(COPIES):
        before = path.stat()
        shutil.copyfile(path, copy)
        copied_log.unlink(missing_ok=True)
        try:
            shutil.copyfile(log, copied_log)
        except FileNotFoundError:
            copied_log.unlink(missing_ok=True)
        after = path.stat()
        if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
            return
    raise SpoolUnavailable(f"{path} is being written all the time; try again")
