"""Keeps the file short that launchd lets the daemon log to: nothing else on macOS does.

The file stays open in the daemon and in launchd, so it is copied and cut, not renamed. What
is written between the two is lost; it is a log.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LOG_BYTES = 10 * 1024 * 1024
KEPT_LOGS = 3
"""Beside the one that is written to: `waystation.log.1`, the newest, to `.3`."""

LOOK_SECONDS = 60.0
_STDERR = 2
_F_GETPATH = 50
"""fcntl(2) of macOS: the path of an open file, in a buffer of MAXPATHLEN."""


async def keep_short(environ: Mapping[str, str]) -> None:
    """Look at standard error now and then, where launchd started this; runs until cancelled."""
    # Only launchd sets it for a job; in a terminal it is 0, or not there.
    if environ.get("XPC_SERVICE_NAME", "0") == "0":
        return
    while True:
        with suppress(OSError):
            rotate(_STDERR)
        await trio.sleep(LOOK_SECONDS)


def rotate(descriptor: int, *, max_bytes: int = MAX_LOG_BYTES, kept: int = KEPT_LOGS) -> bool:
    """Put what a log holds into another file, where it is a file and longer than it may be.

    Args:
        descriptor: of the log, opened for appending.
        max_bytes: what it may be.
        kept: how many files there may be beside it.

    Returns:
        Whether it was.

    Raises:
        OSError: the disk refused.
    """
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_size <= max_bytes:
        return False
    log = _path(descriptor)
    for number in range(kept, 1, -1):
        with suppress(FileNotFoundError):
            Path(f"{log}.{number - 1}").replace(f"{log}.{number}")
    shutil.copyfile(log, f"{log}.1")
    os.ftruncate(descriptor, 0)
    return True


def _path(descriptor: int) -> Path:
    linked = Path(f"/proc/self/fd/{descriptor}")
    if linked.exists():
        return linked.readlink()
    buffer = fcntl.fcntl(descriptor, _F_GETPATH, bytes(1024))
    return Path(os.fsdecode(buffer.rstrip(b"\0")))
