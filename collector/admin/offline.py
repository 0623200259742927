"""The status of a spool that no daemon has open."""

from __future__ import annotations

from pathlib import Path

from collector import __version__
from collector.admin.status import SpoolView, Status, healthy_lanes
from collector.spool.copy import copied
from collector.spool.directory import DATABASE_FILE
from collector.spool.overview import overview
from collector.spool.read import epoch


def offline_status(directory: Path, *, max_bytes: int) -> Status | None:
    """Read a spool without changing it; None where there is none.

    Raises:
        DaemonUnavailable: a daemon has it open, and should have been asked.
        SpoolUnavailable: it cannot be read.
    """
    path = directory / DATABASE_FILE
    log = Path(f"{path}-wal")
    with copied(directory) as connection:
        if connection is None:
            return None
        view = overview(connection)
        name, device = epoch(connection)
        used = path.stat().st_size + (log.stat().st_size if log.exists() else 0)
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
