"""A real file system whose power can be cut: what it did not sync is gone after it.

It lives in a file, mounted in a mount namespace of its own, which ends with its context
whatever happens. The cut is ext4's own shutdown without a flush of its journal: from that
moment on nothing reaches the file any more. Needs root, loop devices, e2fsprogs,
util-linux and mount.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fakes.daemon import until

if TYPE_CHECKING:
    from types import TracebackType

MEGABYTES = 64
_FS_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2
_TOOLS = {"unshare": "util-linux", "nsenter": "util-linux", "mount": "mount", "mke2fs": "e2fsprogs"}


class Impossible(Exception):
    """This machine cannot do it; the text says why."""


class CutFilesystem:
    """The file system, mounted while its context lasts.

    Args:
        directory: an empty one.
        megabytes: its size.

    Attributes:
        mount_point: where it is, for processes that are started with `enter`.
    """

    def __init__(self, directory: Path, *, megabytes: int = MEGABYTES) -> None:
        self._megabytes = megabytes
        self._image = directory / "disk.img"
        self.mount_point = directory / "disk"
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._check()
        self.mount_point.mkdir()
        with self._image.open("wb") as image:
            image.truncate(self._megabytes << 20)
        _run("mke2fs", "-q", "-t", "ext4", "-F", str(self._image))
        # The namespace lasts as long as this process, which waits for the end of its input.
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; read _"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            self._await_holder()
            self._mount()
        except BaseException:
            self._let_go()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._let_go()

    def _await_holder(self) -> None:
        assert self._holder is not None
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"\n":
            raise Impossible("no mount namespace can be made")

    @staticmethod
    def _check() -> None:
        if os.geteuid() != 0:
            raise Impossible("only root can mount")
        missing = [f"{tool} ({package})" for tool, package in _TOOLS.items() if not shutil.which(tool)]
        if missing:
            raise Impossible(f"there is no {', '.join(missing)}")

    def _mount(self) -> None:
        _run(*self.enter, "mount", "-o", "loop", str(self._image), str(self.mount_point))

    def _let_go(self) -> None:
        if self._holder is not None:
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

    def cut(self) -> None:
        """Cut the power: nothing is written from here on, and each write and sync fails.

        A sync that is under way may say that it succeeded, and the data not be there: seen in one of
        sixty cuts, on Linux 6.18, and only in the milliseconds that this takes.
        """
        root = os.open(self.seen_from_outside, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(root, _FS_IOC_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(root)

    def power_up(self) -> None:
        """Mount what was left; no process may have anything open there."""
        unmount = [*self.enter, "umount", str(self.mount_point)]
        until(lambda: subprocess.run(unmount, capture_output=True, check=False).returncode == 0, "unmounted")
        # Namespaces that are about to end may hold it a moment longer, as it was.
        until(lambda: not self._attached(), "no longer in use")
        self._mount()

    def _attached(self) -> bool:
        losetup = ["losetup", "--associated", str(self._image)]
        return subprocess.run(losetup, stdout=subprocess.PIPE, check=True).stdout != b""

    def command(self, program: Path, directory: Path) -> Path:
        """A command that runs a program so that it sees the file system."""
        script = directory / program.name
        script.write_text(f'#!/bin/sh\nexec {" ".join(self.enter)} "{program}" "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        return script


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise Impossible(f"{command[-4:]}: {done.stdout.strip()}")
