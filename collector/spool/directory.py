"""The spool's directory: what is in it, and that it is made so that it outlives a power cut."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

from collector.errors import SpoolUnavailable

if TYPE_CHECKING:
    from pathlib import Path

DATABASE_FILE = "spool.db"
LOCK_FILE = "spool.lock"
BALLAST_FILE = "ballast"

_UNKNOWN = frozenset({errno.ENOTSUP, errno.EINVAL, errno.ENOTTY})
"""What a file system answers that knows no full sync, such as another machine's."""


def make_directory(path: Path) -> None:
    """Make a directory that only its owner may use, with those above it, where there is none.

    Raises:
        SpoolUnavailable: it cannot be made.
    """
    try:
        missing = [directory for directory in (path, *path.parents) if not directory.exists()]
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite syncs the directory that its files are in, not the entries that lead there.
        for directory in missing:
            sync_directory(directory.parent)
    except OSError as error:
        raise refused(path, error) from error


def refused(path: Path, error: OSError) -> SpoolUnavailable:
    """What to say where a file or directory of the spool cannot be made."""
    reason = f"{path}: {error.strerror}"
    if error.errno == errno.EROFS:
        reason += " (to a service: its unit must name the directory in ReadWritePaths=)"
    return SpoolUnavailable(reason)


def sync(handle: int) -> None:
    """Sync a file or a directory to the medium; on macOS `fsync` alone stops at the drive's cache.

    Raises:
        OSError: the disk refused.
    """
    if (full_sync := getattr(fcntl, "F_FULLFSYNC", None)) is not None:
        try:
            fcntl.fcntl(handle, full_sync)
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
        else:
            return
    os.fsync(handle)


def sync_directory(directory: Path) -> None:
    """Make what was renamed, made or deleted in a directory outlive a power cut.

    Raises:
        OSError: the disk refused.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
