"""The status of a spool that no daemon has open."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from collector import __version__
from collector.admin.status import SpoolView, Status, healthy_lanes
from collector.errors import DaemonUnavailable, SpoolLocked, SpoolUnavailable
from collector.spool.database import open_reader
from collector.spool.lock import check_free
from collector.spool.overview import overview
from collector.spool.read import epoch
from collector.spool.spool import DATABASE_FILE, LOCK_FILE


def offline_status(directory: Path, *, max_bytes: int) -> Status | None:
    """Read a spool without changing it; None where there is none.

    The database and its write-ahead log are copied first: SQLite cannot read a log in a directory
    that it may not write to, and reading in place could check it in.

    Raises:
        DaemonUnavailable: a daemon has it open, and should have been asked.
        SpoolUnavailable: it cannot be read.
    """
    path = directory / DATABASE_FILE
    log = Path(f"{path}-wal")
    try:
        if not path.exists():
            return None
        check_free(directory / LOCK_FILE)
        with tempfile.TemporaryDirectory(prefix="waystation-") as place:
            copy = Path(place) / DATABASE_FILE
            shutil.copyfile(path, copy)
            if log.exists():
                shutil.copyfile(log, f"{copy}-wal")
            with closing(open_reader(copy)) as connection:
                view = overview(connection)
                name, device = epoch(connection)
        used = path.stat().st_size + (log.stat().st_size if log.exists() else 0)
    except SpoolLocked as error:
        who = "a daemon" if error.owner is None else f"process {error.owner}"
        raise DaemonUnavailable(f"{who} has the spool {directory} open and does not answer") from None
    except (OSError, sqlite3.Error) as error:
        raise SpoolUnavailable(f"{path} cannot be read: {error}") from error
    return Status(
        version=__version__,
        running=False,
        healthy=healthy_lanes(view.lanes),
        device=device,
        epoch=name,
        spool=SpoolView(
            path=str(directory), used_bytes=used, max_bytes=max_bytes, healthy=True, failed_commits=0
        ),
        lanes=view.lanes,
        ledger=view.ledger,
        received=view.received,
    )
