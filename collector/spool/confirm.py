"""Opening a spool's database: what is damaged is salvaged, and what only seemed so is left alone.

A disk that fails to read once comes out of SQLite as a damaged file. So a mark that a process left
behind is confirmed first, by all that can be looked at.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from collector.errors import SpoolDamaged, SpoolUnavailable
from collector.spool import aside, examine
from collector.spool.database import PAGE_BYTES, Database
from collector.spool.salvage import Salvaged, salvage
from collector.spool.verify import verify

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
    path: Path, *, durability: Literal["full", "normal"], upstreams: Sequence[Wanted], now: int
) -> Opened:
    """Open a spool's database; where it is damaged, what can be saved of it.

    Args:
        path: of the database, which its caller owns.
        durability: as for `Database`.
        upstreams: those of the configuration, for lanes that cannot be read.
        now: ms since 1970.

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
        reason = marker.reason if marker else ""
        if marker is None or not (marker.name or marker.certain):
            try:
                examine.examine_files(path, page_bytes=PAGE_BYTES)
                database = Database(path, durability=durability)
                if marker is None:
                    return Opened(database)
                if _confirm(database):
                    aside.finish(places)
                    return Opened(database, unconfirmed=marker.reason)
            except SpoolDamaged as error:
                reason = reason or error.cause
            except SpoolUnavailable as error:
                if marker is None or not _unread(error.__cause__):
                    raise
        salvaged = salvage(places, reason, upstreams, now)
    except (sqlite3.Error, OSError) as error:
        raise SpoolUnavailable(f"{path}: {error}") from error
    return Opened(Database(path, durability=durability), salvaged)


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
    """Whether a disk failed to read: once more, where there is a mark."""
    code = getattr(error, "sqlite_errorcode", None)
    return code in {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}


def mark_damaged(path: Path, reason: str, *, certain: bool = False) -> None:
    """Have the next start look at everything, and salvage where there is damage.

    A disk that refuses even that leaves it to the start to notice.

    Args:
        path: of the database.
        reason: what was met.
        certain: whether it was met again after nothing was found: then it salvages all the same.

    Raises:
        OSError: the disk refused.
    """
    aside.mark(aside.Places(path), aside.Marker(reason, certain=certain))
