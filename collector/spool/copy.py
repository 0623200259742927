"""A spool's database as of one moment, to be read without touching it.

The database and its write-ahead log are copied: SQLite cannot read a log in a directory that it
may not write to, and reading in place could check it in. Beside a daemon, which writes meanwhile:
while that only appends to its log, a copy of it is cut short at worst; where it moved pages into
the database, the copy is made again.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from collector.errors import DaemonUnavailable, SpoolLocked, SpoolUnavailable
from collector.spool.database import open_reader
from collector.spool.directory import DATABASE_FILE, LOCK_FILE
from collector.spool.lock import check_free

if TYPE_CHECKING:
    from collections.abc import Generator

COPIES = 5
"""How often a copy is tried while a daemon writes."""


@contextmanager
def copied(directory: Path, *, beside_daemon: bool = False) -> Generator[sqlite3.Connection | None]:
    """A connection to a copy of a directory's spool; None where there is none.

    Args:
        directory: of the spool.
        beside_daemon: whether one may have it open.

    Raises:
        DaemonUnavailable: a daemon has it open, and should have been asked.
        SpoolUnavailable: it cannot be read, in the block too.
    """
    path = directory / DATABASE_FILE
    if not path.exists():
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="waystation-") as place:
        try:
            if not beside_daemon:
                check_free(directory / LOCK_FILE)
            copy = Path(place) / DATABASE_FILE
            _copy(path, copy)
            connection = open_reader(copy)
        except SpoolLocked as error:
            who = "a daemon" if error.owner is None else f"process {error.owner}"
            raise DaemonUnavailable(f"{who} has the spool {directory} open and does not answer") from None
        except (OSError, sqlite3.Error) as error:
            raise SpoolUnavailable(f"{path} cannot be read: {error}") from error
        with closing(connection):
            try:
                yield connection
            except sqlite3.Error as error:
                raise SpoolUnavailable(f"{path} cannot be read: {error}") from error


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
