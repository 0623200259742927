"""Setting damaged files aside, so that a death at any moment leads to the same end.

A marker beside the database says that it is damaged, and under which name its files are set
aside; it is taken away when a salvaged database stands in the old one's place. Where it is
found at a start, what was begun is gone on with; where nothing was begun, the damage is
confirmed first. The files that were set aside are never changed and never deleted: that is
the operator's part.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from collector.spool.directory import sync, sync_directory

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = ("-wal", "-shm", "")
"""The database's own file last: while it is there under its name, so may be what belongs to it."""


class Marker(msgspec.Struct, frozen=True):
    """What the marker says.

    Attributes:
        reason: what is damaged.
        name: what the database is called where it is set aside; empty where that is not decided.
        certain: whether there is no need to confirm it.
        doubted: whether it was looked for in vain. Met once more before the spool is closed in
            good order, it is certain.
    """

    reason: str
    name: str = ""
    certain: bool = False
    doubted: bool = False


@dataclass(frozen=True, slots=True)
class Places:
    """The files of a salvage."""

    database: Path

    @property
    def marker(self) -> Path:
        """Says that the database is damaged."""
        return self.database.with_name(f"{self.database.name}.damaged")

    @property
    def image(self) -> Path:
        """A copy of the damaged files, merged, to be read from."""
        return self.database.with_name(f"{self.database.name}.salvage-image")

    @property
    def fresh(self) -> Path:
        """The new database, until it is whole."""
        return self.database.with_name(f"{self.database.name}.salvage")

    def aside(self, name: str) -> Path:
        """The damaged database where it is set aside."""
        return self.database.with_name(name)


def read_marker(places: Places) -> Marker | None:
    """The marker, where there is one.

    Raises:
        OSError: it cannot be read.
    """
    try:
        content = places.marker.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(content, type=Marker)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Its being there is what counts. What it said is lost, that it was doubted too.
        return Marker("it was found to be damaged when it was last open", certain=True)


def mark(places: Places, marker: Marker) -> None:
    """Have the next start salvage.

    Raises:
        OSError: the disk refused.
    """
    draft = places.marker.with_name(f"{places.marker.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        # A disk without a free block still has room for an empty file, which says enough.
        with suppress(OSError):
            os.write(descriptor, msgspec.json.encode(marker))
        sync(descriptor)
    finally:
        os.close(descriptor)
    draft.replace(places.marker)
    sync_directory(places.marker.parent)


def mark_damaged(database: Path, reason: str, *, certain: bool = False) -> None:
    """Have the next start look at everything, and salvage where there is damage.

    Args:
        database: where it is.
        reason: what was met.
        certain: whether to salvage all the same.

    Raises:
        OSError: the disk refused; then it is left to the start to notice.
    """
    places = Places(database)
    present = read_marker(places)
    if present is not None and present.name and not replaced(places, present):
        return  # its salvage has begun, and goes on
    doubted = present is not None and not present.name and (present.doubted or present.certain)
    mark(places, Marker(reason, certain=certain or doubted))


def lift_doubt(database: Path) -> None:
    """Take away what is left of damage that was looked for in vain, and not met again.

    Raises:
        OSError: the disk refused.
    """
    places = Places(database)
    marker = read_marker(places)
    if marker is not None and marker.doubted:
        finish(places)


def set_aside(places: Places, reason: str, *, now: int) -> Marker:
    """Rename a damaged database and what belongs to it, and remember that.

    Args:
        places: where.
        reason: what is damaged, where no marker says so yet.
        now: ms since 1970, for the name.

    Raises:
        OSError: the disk refused.
    """
    marker = read_marker(places) or Marker(reason)
    if not marker.name:
        marker = Marker(marker.reason, _free_name(places, now), marker.certain)
        mark(places, marker)
    if not places.aside(marker.name).exists():
        # A database that is gone while its log is there has a place all the same.
        places.database.touch(mode=0o600)
    for suffix in SUFFIXES:
        file = places.database.with_name(f"{places.database.name}{suffix}")
        if file.exists() and not places.aside(f"{marker.name}{suffix}").exists():
            file.rename(places.aside(f"{marker.name}{suffix}"))
            sync_directory(file.parent)
    return marker


def replaced(places: Places, marker: Marker) -> bool:
    """Whether the salvaged database is in place already, and only the marker is left."""
    return bool(marker.name) and places.aside(marker.name).exists() and places.database.exists()


def put_in_place(places: Places) -> None:
    """Make the salvaged database the database.

    Raises:
        OSError: the disk refused.
    """
    descriptor = os.open(places.fresh, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
    places.fresh.rename(places.database)
    sync_directory(places.database.parent)


def finish(places: Places) -> None:
    """Take away the marker, and what was needed on the way.

    Raises:
        OSError: the disk refused.
    """
    clear(places)
    places.marker.unlink(missing_ok=True)
    sync_directory(places.marker.parent)


def clear(places: Places) -> None:
    """Delete what an earlier salvage that was cut short may have left."""
    for file in (places.image, places.fresh):
        for suffix in (*SUFFIXES, "-journal"):
            with suppress(FileNotFoundError):
                file.with_name(f"{file.name}{suffix}").unlink()


def set_aside_files(database: Path) -> list[Path]:
    """The damaged files that were set aside and are still there, the oldest first."""
    return sorted(database.parent.glob(f"{database.name}.corrupt-*"))


def _free_name(places: Places, now: int) -> str:
    stamp = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    name, count = f"{places.database.name}.corrupt-{stamp}", 1
    while places.aside(name).exists():
        count += 1
        name = f"{places.database.name}.corrupt-{stamp}-{count}"
    return name
