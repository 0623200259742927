"""The steps of a plan: files to write, directories to make, commands to run.

Each can be carried out again: a file that is as it should be is not touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Write:
    """A file, whole.

    Attributes:
        mode: permission bits.
    """

    path: Path
    content: bytes
    mode: int = 0o644

    def __str__(self) -> str:
        return f"write {self.path} ({self.mode:04o})"

    def run(self) -> bool:
        """Write it so that a power cut leaves the old one or the new one; False where nothing is to do."""
        with suppress(OSError):
            same = self.path.read_bytes() == self.content
            if same and self.path.stat().st_mode & 0o7777 == self.mode:
                return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}.new")
        with draft.open("wb") as file:
            file.write(self.content)
            os.fchmod(file.fileno(), self.mode)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
        _sync(self.path.parent)
        return True


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """A directory of its owner's, whose mode is set only where it is made.

    Attributes:
        owner: whose, as `user:group`; empty for who runs this.
    """

    path: Path
    mode: int = 0o755
    owner: str = ""

    def __str__(self) -> str:
        whose = f" {self.owner}" if self.owner else ""
        return f"make {self.path}/ ({self.mode:04o}{whose})"

    def run(self) -> bool:
        """Make it; False where it is there."""
        if self.path.is_dir():
            return False
        self.path.mkdir(parents=True)
        self.path.chmod(self.mode)
        if self.owner:
            user, _, group = self.owner.partition(":")
            shutil.chown(self.path, user, group)
        return True


@dataclass(frozen=True, slots=True)
class Remove:
    """A file, or a directory with all that is in it."""

    path: Path

    def __str__(self) -> str:
        return f"remove {self.path}"

    def run(self) -> bool:
        """Remove it; False where it is not there."""
        if self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
            return True
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        _sync(self.path.parent)
        return True


@dataclass(frozen=True, slots=True)
class Run:
    """A command.

    Attributes:
        may_fail: whether its failure stops nothing: what it should do is done.
        if_changed: whether it is left out where no step before it had anything to do.
    """

    command: tuple[str, ...]
    may_fail: bool = False
    if_changed: bool = False

    def __str__(self) -> str:
        return f"run {' '.join(self.command)}"

    def run(self) -> bool:
        """Run it to its end.

        Raises:
            ServiceError: it is not there, or it failed.
        """
        try:
            done = subprocess.run(  # noqa: S603 - the commands are in this package
                self.command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
            )
        except FileNotFoundError:
            raise ServiceError(f"there is no {self.command[0]} on this machine") from None
        if done.returncode and not self.may_fail:
            said = " ".join((done.stderr or done.stdout).split())
            raise ServiceError(f"`{' '.join(self.command)}` failed: {said or done.returncode}")
        return done.returncode == 0


Step = Write | MakeDirectory | Remove | Run


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in their order, and what a person is told at the end."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()


def carry_out(steps: Iterable[Step], tell: Callable[[str], None]) -> None:
    """Run the steps, telling those that changed something.

    Raises:
        ServiceError: one failed; those before it are done.
    """
    changed = False
    for step in steps:
        if isinstance(step, Run) and step.if_changed and not changed:
            continue
        try:
            if step.run():
                tell(str(step))
                changed = changed or not isinstance(step, Run)
        except OSError as error:
            raise ServiceError(f"cannot {step}: {error.strerror or error}") from None


def _sync(directory: Path) -> None:
    """Without this a power cut may take a rename back."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
