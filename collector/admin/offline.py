"""The status of a spool that no daemon has open."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from collector import __version__
from collector.admin.snapshot import snapshot
from collector.admin.status import SpoolView, Status, healthy_lanes
from collector.errors import SpoolUnavailable
from collector.spool.overview import overview
from collector.spool.read import epoch
from collector.spool.spool import DATABASE_FILE


def offline_status(directory: Path, *, max_bytes: int) -> Status | None:
    """Read a spool without changing it; None where there is none.

    Raises:
        SpoolUnavailable: it cannot be read.
    """
    path = directory / DATABASE_FILE
    if not path.exists():
        return None
    with snapshot(directory) as connection:
        try:
            view = overview(connection)
            name, device = epoch(connection)
        except sqlite3.Error as error:
            raise SpoolUnavailable(f"{path} cannot be read: {error}") from error
    used = sum(file.stat().st_size for file in (path, Path(f"{path}-wal")) if file.exists())
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
        salvages=view.salvages,
    )
