"""The upstream of kind `file`: appends a lane's events to a series of files, as NDJSON.

    samsara lane of upstream "file"        file.samsara.000001.ndjson, then 000002 ...
    a product's lane                       file.traintracks.<product>.000001.ndjson

A batch is delivered when its lines are synced. How far a lane's files are good is a marker,
"<number>:<offset>", which the spool settles together with the lane's cursor; `open_lane`
cuts the files back to it at a start, so lines that were written but never settled are not
there twice. Files are read, moved and removed by others as they like: whatever is missing
or shorter than expected is left alone, and the series goes on with its next number.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from collector.core.verdict import Delivered, Outcome, Retry
from collector.forwarder.blocking import abandonable
from collector.forwarder.packing import Packed
from collector.spool.directory import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collector.core.batch import SealedBatch
    from collector.forwarder.blocking import Runner
    from collector.forwarder.packing import Body

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_FILES = 10

_DIRECTORY_MODE = 0o750
_FILE_MODE = 0o640
# Without O_NONBLOCK, opening what somebody made a pipe would wait for its reader.
_WRITE = os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK

_MARKER = re.compile(r"([0-9]{1,12}):([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class _End:
    """Where a lane's next line goes, and which batch wrote the line before it."""

    number: int
    offset: int
    batch: str | None = None

    def __str__(self) -> str:
        return f"{self.number}:{self.offset}"


class FileSender:
    """Appends batches to files in one directory.

    Args:
        directory: made where it is missing.
        max_file_bytes: a file that would pass this is followed by the next; a batch larger
            than it has a file of its own.
        max_files: times `max_file_bytes`, what all `*.ndjson` files there may hold before
            batches wait.
        run: runs what blocks.
        sync: syncs an open file or directory; an argument so that tests can fail it.
    """

    def __init__(
        self,
        directory: str | Path,
        max_file_bytes: int = MAX_FILE_BYTES,
        max_files: int = MAX_FILES,
        *,
        run: Runner = abandonable,
        sync: Callable[[int], None] = sync,
    ) -> None:
        self._directory = Path(directory)
        self._max_file_bytes = max_file_bytes
        self._max_total_bytes = max_files * max_file_bytes
        self._run = run
        self._sync = sync
        self._ends: dict[str, _End] = {}

    async def open_lane(self, lane_name: str, settled: str | None) -> str:
        """Cut a lane's files back to what is settled; once, before its first attempt.

        Args:
            lane_name: the lane's.
            settled: the marker of its last settled batch. None where nothing ever was:
                files that are there nevertheless are of an earlier spool's life, and are
                kept; the series goes on behind them.

        Returns:
            The marker as it is now. Kept before the first attempt, it lets the next start
            cut that attempt's lines as well.

        Raises:
            OSError: the directory cannot be read or changed.
        """
        end = await self._run(lambda: self._open(lane_name, settled))
        self._ends[lane_name] = end
        return str(end)

    async def attempt(self, batch: SealedBatch, body: Body) -> Outcome:
        """Append a batch's lines, and sync them.

        Args:
            batch: of a lane that was opened; a lane that was not is opened as new.
            body: NDJSON, which is never packed.
        """
        if isinstance(body, Packed):
            raise TypeError("lines are appended as they are")
        name = batch.lane_name
        end = self._ends.get(name)
        if end is not None and end.batch == batch.id:
            # It was written, and its settling was interrupted: once is enough.
            return Outcome(Delivered(), wrote_body=True, settled=str(end))
        try:
            if end is None:
                await self.open_lane(name, None)
            start = self._ends[name]
            outcome, self._ends[name] = await self._run(lambda: self._append(name, start, batch.id, body))
        except OSError as error:
            return Outcome(Retry(self._told(error)), wrote_body=False)
        return outcome

    async def aclose(self) -> None:
        """Nothing is held open between attempts."""

    def _open(self, lane_name: str, settled: str | None) -> _End:
        marker = _MARKER.fullmatch(settled or "")
        if marker is None:
            return self._next(lane_name, 0)
        number, offset = int(marker[1]), int(marker[2])
        unsettled = [later for later in self._numbers(lane_name) if later > number]
        for later in unsettled:
            self._path(lane_name, later).unlink(missing_ok=True)
        if unsettled:
            self._sync_directory(self._directory)
        return self._cut_back(lane_name, _End(number, offset))

    def _append(self, lane_name: str, end: _End, batch: str, body: bytes) -> tuple[Outcome, _End]:
        self._make_directory()
        end = self._cut_back(lane_name, end)
        if end.offset and end.offset + len(body) > self._max_file_bytes:
            end = self._next(lane_name, end.number)
        if self._total_bytes() + len(body) > self._max_total_bytes:
            reason = f"{self._directory} is full: its files may hold {self._max_total_bytes} bytes"
            if len(body) > self._max_total_bytes:
                reason += f", and one event takes {len(body)}: raise max_file_bytes or max_files"
            return Outcome(Retry(reason), wrote_body=False), end
        handle = os.open(self._path(lane_name, end.number), _WRITE | os.O_CREAT, _FILE_MODE)
        try:
            _write(handle, body, end.offset)
            self._sync(handle)
            if end.offset == 0:
                self._sync_directory(self._directory)
        except OSError as error:
            # What was written of it is cut off before the next attempt, or at the next start.
            return Outcome(Retry(self._told(error)), wrote_body=True), end
        finally:
            os.close(handle)
        end = _End(end.number, end.offset + len(body), batch)
        return Outcome(Delivered(), wrote_body=True, settled=str(end)), end

    def _cut_back(self, lane_name: str, end: _End) -> _End:
        """Cut off what stands behind a lane's end; where its file is not as it was left, the next one's."""
        try:
            handle = os.open(self._path(lane_name, end.number), _WRITE)
        except FileNotFoundError:
            return end if end.offset == 0 else self._next(lane_name, end.number)
        try:
            size = os.fstat(handle).st_size
            if size > end.offset:
                os.ftruncate(handle, end.offset)
                self._sync(handle)
        finally:
            os.close(handle)
        return end if size >= end.offset else self._next(lane_name, end.number)

    def _next(self, lane_name: str, number: int) -> _End:
        """The start of the first file behind `number`, and behind all that are there."""
        return _End(max(number, *self._numbers(lane_name), 0) + 1, 0)

    def _numbers(self, lane_name: str) -> Iterator[int]:
        pattern = re.compile(re.escape(_stem(lane_name)) + r"\.([0-9]{6,12})\.ndjson")
        if self._directory.is_dir():
            matches = (pattern.fullmatch(path.name) for path in self._directory.iterdir())
            yield from (int(match[1]) for match in matches if match is not None)

    def _path(self, lane_name: str, number: int) -> Path:
        return self._directory / f"{_stem(lane_name)}.{number:06}.ndjson"

    def _total_bytes(self) -> int:
        total = 0
        for path in self._directory.glob("*.ndjson"):
            with contextlib.suppress(FileNotFoundError):  # moved away meanwhile
                total += path.lstat().st_size
        return total

    def _make_directory(self) -> None:
        missing = [path for path in (self._directory, *self._directory.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
            self._sync_directory(path.parent)

    def _sync_directory(self, path: Path) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._sync(handle)
        finally:
            os.close(handle)

    def _told(self, error: OSError) -> str:
        return f"cannot write to {self._directory}: {error.strerror or type(error).__name__}"


def _stem(lane_name: str) -> str:
    """The part of a file's name that is the lane's; no two lanes share one.

    Product keys that differ in case alone would share a file where the file system does
    not tell them apart, as on macOS.
    """
    stem = lane_name.replace("/", ".")
    lower = stem.lower()
    if stem == lower:
        return stem
    return f"{lower}~{hashlib.sha256(stem.encode()).hexdigest()[:8]}"


def _write(handle: int, body: bytes, offset: int) -> None:
    left = memoryview(body)
    while left:
        written = os.pwrite(handle, left, offset)
        offset += written
        left = left[written:]
