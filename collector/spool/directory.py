"""The spool's directory: what is in it, and that it is made so that it outlives a power cut."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
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
    if error.errno == errno.EACCES:
        reason += _foreign(path)
    return SpoolUnavailable(reason)


def _foreign(path: Path) -> str:
    """What to add where it, or the directory that it would be in, is another user's: after a run as root."""
    for place in (path, *path.parents):
        try:
            owner = place.stat().st_uid
        except OSError:
            continue
        if owner == os.geteuid():
            return ""
        return f" ({place} belongs to user {user_name(owner)}, and this runs as {user_name(os.geteuid())})"
    return ""


def user_name(uid: int) -> str:
    """The name of a user, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


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
