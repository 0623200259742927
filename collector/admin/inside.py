"""What is inside the spool, for `waystation spool info`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.config.units import format_size
from collector.spool.aside import Places, read_marker, set_aside_files
from collector.spool.directory import DATABASE_FILE
from collector.spool.views import SalvageRow  # noqa: TC001 (msgspec reads the annotations)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.admin.status import Status


class FileView(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the spool's directory."""

    name: str
    bytes: int


class Inside(msgspec.Struct, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        damaged: why the next start will salvage; empty where it will not.
        set_aside: damaged files that are kept.
    """

    path: str
    running: bool
    device: str
    epoch: str
    used_bytes: int
    max_bytes: int
    lanes: int
    pending_events: int
    dead_letters: int
    files: list[FileView]
    damaged: str
    set_aside: list[FileView]
    salvages: list[SalvageRow]

    def lines(self) -> Iterator[tuple[str, str]]:
        """Label and value, for people."""
        yield "spool", self.path
        yield "daemon", "running" if self.running else "not running"
        yield "device", self.device
        yield "epoch", self.epoch
        yield "size", f"{format_size(self.used_bytes)} of {format_size(self.max_bytes)}"
        for file in self.files:
            yield "file", f"{file.name} {format_size(file.bytes)}"
        yield "lanes", f"{self.lanes:,}"
        yield "pending", f"{self.pending_events:,} events, counted once a lane"
        yield "dead letters", f"{self.dead_letters:,}"
        if self.damaged:
            yield "damaged", f"{self.damaged}; the next start looks, and salvages"
        for file in self.set_aside:
            yield "set aside", f"{file.name} {format_size(file.bytes)}"
        for row in self.salvages:
            yield "salvaged", f"{row.events:,} events saved, {row.damaged:,} known to be lost: {row.reason}"


def look(status: Status, directory: Path) -> Inside:
    """Put together what a status says of the spool, and what lies in its directory."""
    database = directory / DATABASE_FILE
    marker = read_marker(Places(database))
    own = (database.with_name(f"{database.name}{suffix}") for suffix in ("", "-wal"))
    return Inside(
        path=status.spool.path,
        running=status.running,
        device=status.device,
        epoch=status.epoch,
        used_bytes=status.spool.used_bytes,
        max_bytes=status.spool.max_bytes,
        lanes=len(status.lanes),
        pending_events=sum(lane.pending_events for lane in status.lanes),
        dead_letters=sum(lane.dead_letters for lane in status.lanes),
        files=_views(own),
        damaged=marker.reason if marker and not marker.doubted else "",
        set_aside=_views(iter(set_aside_files(database))),
        salvages=status.salvages,
    )


def _views(files: Iterator[Path]) -> list[FileView]:
    return [FileView(name=file.name, bytes=file.stat().st_size) for file in files if file.exists()]
