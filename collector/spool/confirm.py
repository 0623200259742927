"""Opening a spool's database: what is damaged is salvaged, and what only seemed so is left alone.

A disk that fails to read once comes out of SQLite as a damaged file. So a mark that a process left
behind is confirmed first, by all that can be looked at. Where nothing is found the mark stays, as
one that is doubted: what meets the same once more before the spool is closed in good order is
believed, so that no damage has a daemon end and start for ever.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from collector.errors import SpoolDamaged, SpoolNoSpace, SpoolUnavailable
from collector.spool import aside, examine
from collector.spool.database import PAGE_BYTES, Database
from collector.spool.directory import refused
from collector.spool.image import UNREADABLE
from collector.spool.salvage import salvage
from collector.spool.stages import LOOKING, untold
from collector.spool.verify import verify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.spool.journal import Salvaged
    from collector.spool.stages import Told
    from collector.spool.upstreams import Wanted


@dataclass(frozen=True, slots=True)
class Opened:
    """An open database.

    Attributes:
        salvaged: what was saved, where it was damaged.
        unconfirmed: why it was thought to be damaged, where it is not.
    """

    database: Database
    salvaged: Salvaged | None = None
    unconfirmed: str = ""


def open_database(
    path: Path,
    *,
    durability: Literal["full", "normal"],
    upstreams: Sequence[Wanted],
    now: int,
    told: Told = untold,
) -> Opened:
    """Open a spool's database; where it is damaged, what can be saved of it.

    Args:
        path: of the database, which its caller owns.
        durability: as for `Database`.
        upstreams: those of the configuration, for lanes that cannot be read.
        now: ms since 1970.
        told: how far the search for damage, or the salvage, is.

    Raises:
        SpoolTooNew: it was written by a later release.
        SpoolUnavailable: it cannot be opened, or there is no room to salvage it.
    """
    places = aside.Places(path)
    try:
        marker = aside.read_marker(places)
        if marker is not None and aside.replaced(places, marker):
            aside.finish(places)
            marker = None
        if marker is None or not (marker.name or marker.certain):
            opened, reason = _open(places, marker, durability, told)
            if opened is not None:
                return opened
        else:
            reason = marker.reason
        salvaged = salvage(places, reason, upstreams, now, told)
    except sqlite3.Error as error:
        raise SpoolUnavailable(f"{path}: {error}") from error
    except OSError as error:
        raise refused(Path(error.filename) if isinstance(error.filename, str) else path, error) from error
    return Opened(Database(path, durability=durability), salvaged)


def _open(
    places: aside.Places, marker: aside.Marker | None, durability: Literal["full", "normal"], told: Told
) -> tuple[Opened | None, str]:
    """The database, where nothing shows that it is damaged; else what does."""
    wanted = marker is not None and not marker.doubted
    try:
        examine.examine_files(places.database, page_bytes=PAGE_BYTES)
        database = Database(places.database, durability=durability)
        if marker is None or not wanted:
            return Opened(database), ""
        told(LOOKING, 0, 0)
        if not _confirm(database):
            return None, marker.reason
        aside.mark(places, aside.Marker(marker.reason, doubted=True))
        return Opened(database, unconfirmed=marker.reason), ""
    except SpoolDamaged as error:
        return None, marker.reason if marker else error.cause
    except SpoolNoSpace:
        raise
    except (SpoolUnavailable, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not _unread(cause):
            raise
        if marker is not None:
            return None, marker.reason
        # It may have been for once. If the next start cannot read it either, that saves what it can.
        aside.mark_damaged(places.database, f"the disk could not read it: {cause}")
        raise


def _confirm(database: Database) -> bool:
    """Whether a database that was marked as damaged is not; one that is gets closed.

    What SQLite reports as damage may have been a disk that failed to read once.
    """
    try:
        proof = verify(database.connection, bodies=False)
    except BaseException:
        database.close()
        raise
    if proof.problems:
        database.close()
    return not proof.problems


def _unread(error: BaseException | None) -> bool:
    """Whether a disk failed to read."""
    if isinstance(error, OSError):
        return error.errno in UNREADABLE
    code = getattr(error, "sqlite_errorcode", None)
    return code in {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}
