"""A small disk, in memory, that can be filled to its last byte.

It is a tmpfs in a mount namespace of its own, which ends with its context whatever happens.
Needs root, util-linux and mount.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fakes.cut_filesystem import Impossible

if TYPE_CHECKING:
    from types import TracebackType

_PIECE = 1 << 16
_TOOLS = {"unshare": "util-linux", "nsenter": "util-linux", "mount": "mount"}


class SmallDisk:
    """The file system, mounted while its context lasts.

    Args:
        directory: an empty one; it is mounted at `disk` in there.
        size: bytes.
    """

    def __init__(self, directory: Path, size: int) -> None:
        self.mount_point = directory / "disk"
        self._size = size
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise Impossible("only root can mount")
        missing = [f"{tool} ({package})" for tool, package in _TOOLS.items() if not shutil.which(tool)]
        if missing:
            raise Impossible(f"there is no {', '.join(missing)}")
        self.mount_point.mkdir()
        mount = f"mount -t tmpfs -o size={self._size} tmpfs '{self.mount_point}' && echo && read _"
        # The namespace lasts as long as this process, which waits for the end of its input.
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"\n":
            raise Impossible(f"no tmpfs can be mounted: {self._holder.communicate()[1].decode().strip()}")
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._holder is not None
        self._holder.communicate()

    @property
    def enter(self) -> tuple[str, ...]:
        """What a command begins with to see the file system."""
        assert self._holder is not None
        return ("nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--")

    @property
    def seen_from_outside(self) -> Path:
        """The mount point, for this process."""
        assert self._holder is not None
        return Path(f"/proc/{self._holder.pid}/root{self.mount_point}")

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

    def command(self, program: Path, directory: Path) -> Path:
        """A command that runs a program so that it sees the file system."""
        script = directory / program.name
        script.write_text(f'#!/bin/sh\nexec {" ".join(self.enter)} "{program}" "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        return script
