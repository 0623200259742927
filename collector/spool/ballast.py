"""The ballast: real bytes on the disk that can be given up when nothing else is free.

They are random, so that no file system compresses or deduplicates them away, and synced, so
that they are truly allocated.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from collector.errors import SpoolNoSpace, SpoolUnavailable
from collector.spool.directory import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

PIECE_BYTES = 1024 * 1024
"""Written at a time: what is held in memory for it."""

PROBE_BYTES = 8192
"""What a probe for room writes: a page of the database, and no less than a file system's block."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the kernel says where a file cannot grow."""

_BLOCK = 512  # the unit of st_blocks, whatever the file system's own


class Ballast:
    """A file of bytes that mean nothing. Not thread-safe: it belongs to whoever commits."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def size(self) -> int:
        """Bytes that are there and allocated; 0 where there is no file."""
        try:
            found = self._path.stat()
        except OSError:
            return 0
        return min(found.st_size, found.st_blocks * _BLOCK)

    def fill(self, size: int) -> None:
        """Make it at least so large; what was there stays.

        Raises:
            SpoolNoSpace: the disk has no room for it. What was written until then stays.
            SpoolUnavailable: the disk refused otherwise.
        """
        held = self.size
        if held >= size:
            return
        try:
            new = not self._path.exists()
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # What is there and not allocated is no ballast.
                os.ftruncate(descriptor, held)
                os.lseek(descriptor, held, os.SEEK_SET)
                while held < size:
                    held += os.write(descriptor, os.urandom(min(PIECE_BYTES, size - held)))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if new:
                sync_directory(self._path.parent)
        except OSError as error:
            raise _refusal(self._path, error) from error

    def cut(self, size: int = 0) -> None:
        """Make it at most so large.

        Raises:
            SpoolUnavailable: the disk refused.
        """
        try:
            if self._path.exists() and self._path.stat().st_size > size:
                os.truncate(self._path, size)
        except OSError as error:
            raise SpoolUnavailable(f"{self._path}: {error.strerror}") from error


def has_room(directory: Path) -> bool:
    """Whether a file in a directory can grow at all; the surest way to know is to try."""
    probe = directory / f"probe-{os.getpid()}"
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return error.errno not in NO_ROOM
    try:
        os.write(descriptor, os.urandom(PROBE_BYTES))
        os.fsync(descriptor)
    except OSError as error:
        return error.errno not in NO_ROOM
    finally:
        with suppress(OSError):  # a disk that refuses that too has answered already
            os.close(descriptor)
            probe.unlink(missing_ok=True)
    return True


def free_bytes(directory: Path) -> int:
    """What the file system has free for this process; none where it does not say."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def _refusal(path: Path, error: OSError) -> SpoolUnavailable:
    kind = SpoolNoSpace if error.errno in NO_ROOM else SpoolUnavailable
    return kind(f"{path}: {error.strerror}")
