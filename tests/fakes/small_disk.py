"""A small disk, in memory, that can be filled to its last byte: a tmpfs. Needs root, util-linux and mount."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from fakes.mount_namespace import MountNamespace, must

if TYPE_CHECKING:
    from pathlib import Path

_PIECE = 1 << 16


class SmallDisk(MountNamespace):
    """The file system, mounted while its context lasts.

    Args:
        directory: an empty one; it is mounted at `disk` in there.
        size: bytes.
    """

    def __init__(self, directory: Path, size: int) -> None:
        super().__init__(directory)
        self._size = size

    def mount(self) -> None:
        must(*self.enter, "mount", "-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", str(self.mount_point))

    @property
    def free(self) -> int:
        """Bytes."""
        found = os.statvfs(self.seen_from_outside)
        return found.f_bavail * found.f_frsize

    def fill(self, name: str = "other", *, leave: int = 0) -> None:
        """Have another file take what is free, all but `leave` bytes."""
        with (self.seen_from_outside / name).open("ab", buffering=0) as other:
            try:
                while self.free > leave:
                    other.write(b"x" * min(_PIECE, self.free - leave))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def clear(self, name: str = "other") -> None:
        """Take that file away."""
        (self.seen_from_outside / name).unlink()
