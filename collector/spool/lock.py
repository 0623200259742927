"""One owner: the lock that keeps a second daemon off a spool.

The lock is the kernel's, on an open file, so it ends with the process that holds it,
however that ended; the file's text only says who it was.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from collector.errors import SpoolLocked
from collector.spool.directory import refused

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@contextmanager
def owned(path: Path) -> Generator[None]:
    """Hold the lock at `path`.

    Raises:
        SpoolLocked: another process holds it.
        SpoolUnavailable: its file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise refused(path, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SpoolLocked(path=str(path.parent), owner=_owner(descriptor)) from None
        # The id is for people; a full disk that cannot take it does not weaken the lock.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(descriptor)


def check_free(path: Path) -> None:
    """See that no process holds the lock at `path`; holds it for that moment alone.

    Raises:
        SpoolLocked: one does.
        OSError: the file is there and cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SpoolLocked(path=str(path.parent), owner=_owner(descriptor)) from None
    finally:
        os.close(descriptor)


def _owner(descriptor: int) -> int | None:
    with suppress(ValueError):
        return int(os.pread(descriptor, 32, 0))
    return None
