"""A spool that no daemon has open, read without changing it."""

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


@contextmanager
def copied(directory: Path) -> Generator[sqlite3.Connection | None]:
    """A connection to a copy of a directory's spool; None where there is none.

    The database and its write-ahead log are copied first: SQLite cannot read a log in a directory
    that it may not write to, and reading in place could check it in.

    Raises:
        DaemonUnavailable: a daemon has it open, and should have been asked.
        SpoolUnavailable: it cannot be read, in the block too.
    """
    path = directory / DATABASE_FILE
    log = Path(f"{path}-wal")
    try:
        if not path.exists():
            yield None
            return
        check_free(directory / LOCK_FILE)
        with tempfile.TemporaryDirectory(prefix="waystation-") as place:
            copy = Path(place) / DATABASE_FILE
            shutil.copyfile(path, copy)
            if log.exists():
                shutil.copyfile(log, f"{copy}-wal")
            with closing(open_reader(copy)) as connection:
                yield connection
    except SpoolLocked as error:
        who = "a daemon" if error.owner is None else f"process {error.owner}"
        raise DaemonUnavailable(f"{who} has the spool {directory} open and does not answer") from None
    except (OSError, sqlite3.Error) as error:
        raise SpoolUnavailable(f"{path} cannot be read: {error}") from error
