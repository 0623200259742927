"""A file system of a test's own, in a mount namespace that ends with its context whatever happens.

Needs root, util-linux and mount.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Impossible(Exception):
    """This machine cannot do it; the text says why."""


class MountNamespace:
    """The file system, mounted at `disk` in a directory while its context lasts.

    Args:
        directory: an empty one.

    Attributes:
        tools: what it needs, with the packages that have it.
        mount_point: where it is, for processes that are started with `enter`.
    """

    tools = {"unshare": "util-linux", "nsenter": "util-linux", "mount": "mount"}  # noqa: RUF012 - as it stands

    def __init__(self, directory: Path) -> None:
        self.mount_point = directory / "disk"
        self._holder: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Make what is to be mounted."""

    def mount(self) -> None:
        """Mount it, in the namespace."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise Impossible("only root can mount")
        missing = [f"{tool} ({package})" for tool, package in self.tools.items() if not shutil.which(tool)]
        if missing:
            raise Impossible(f"there is no {', '.join(missing)}")
        self.mount_point.mkdir()
        self.prepare()
        # The namespace lasts as long as this process, which waits for the end of its input.
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; read _"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            self._await_holder()
            self.mount()
        except BaseException:
            self._holder.communicate()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._holder is not None
        self._holder.communicate()

    def _await_holder(self) -> None:
        assert self._holder is not None
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"\n":
            raise Impossible("no mount namespace can be made")

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

    def command(self, program: Path, directory: Path) -> Path:
        """A command that runs a program so that it sees the file system."""
        script = directory / program.name
        script.write_text(f'#!/bin/sh\nexec {" ".join(self.enter)} "{program}" "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        return script


def must(*command: str) -> None:
    """Run a command.

    Raises:
        Impossible: it failed.
    """
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise Impossible(f"{command[-4:]}: {done.stdout.strip()}")
