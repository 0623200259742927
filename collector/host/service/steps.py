"""The steps of a plan: files to write, directories to make, commands to run.

A plan may be interrupted anywhere, by an error, a kill or a power cut. Carried out again, it ends
as if it had not been: each step sees for itself whether there is anything to do, and what has
to follow a change, such as a restart, is owed until it was done. A mark on disk tells that.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from collector.errors import ServiceError
from collector.host.service.machine import ThisMachine
from collector.spool.directory import sync

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from collector.host.service.machine import Machine


class Step(Protocol):
    """One step; its text says what it does."""

    def due(self, machine: Machine) -> bool:
        """Whether there is anything to do."""

    def run(self, machine: Machine) -> None:
        """Do it.

        Raises:
            ServiceError: it failed.
            OSError: likewise.
        """


@dataclass(frozen=True, slots=True)
class Write:
    """A file, whole.

    Attributes:
        mode: permission bits.
        yours: from then on it is somebody else's: one that is there is left as it is.
    """

    path: Path
    content: bytes
    mode: int = 0o644
    yours: bool = False

    def __str__(self) -> str:
        return f"write {self.path} ({self.mode:04o})" + (", where there is none" if self.yours else "")

    def due(self, machine: Machine) -> bool:  # noqa: ARG002 - files are seen without it
        """Whether it is not there, or another one."""
        if self.yours:
            return not self.path.exists()
        with suppress(OSError):
            same = self.path.read_bytes() == self.content
            return not same or self.path.stat().st_mode & 0o7777 != self.mode
        return True

    def run(self, machine: Machine) -> None:  # noqa: ARG002 - likewise
        """Write it so that a power cut leaves the old one or the new one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}.new")
        draft.write_bytes(self.content)
        draft.chmod(self.mode)
        _sync(draft)
        draft.replace(self.path)
        _sync(self.path.parent)


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

    def due(self, machine: Machine) -> bool:  # noqa: ARG002 - files are seen without it
        """Whether it is not there."""
        return not self.path.is_dir()

    def run(self, machine: Machine) -> None:  # noqa: ARG002 - likewise
        """Make it, at once with its mode and owner: the next time it is left alone."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}.new")
        draft.mkdir(exist_ok=True)
        draft.chmod(self.mode)
        if self.owner:
            user, _, group = self.owner.partition(":")
            shutil.chown(draft, user, group)
        draft.rename(self.path)
        _sync(self.path.parent)


@dataclass(frozen=True, slots=True)
class Remove:
    """A file, or a directory with all that is in it."""

    path: Path

    def __str__(self) -> str:
        return f"remove {self.path}"

    def due(self, machine: Machine) -> bool:  # noqa: ARG002 - files are seen without it
        """Whether it is there."""
        return self.path.exists() or self.path.is_symlink()

    def run(self, machine: Machine) -> None:  # noqa: ARG002 - likewise
        """Remove it."""
        if self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)
        _sync(self.path.parent)


@dataclass(frozen=True, slots=True)
class RemoveOwn:
    """What is ours in a directory that may hold more, and the directory if it holds no more.

    Attributes:
        patterns: names in it, with `*` for any characters.
    """

    directory: Path
    patterns: tuple[str, ...]

    def __str__(self) -> str:
        return f"remove {self.directory}: {', '.join(self.patterns)}; and the directory if it is empty then"

    def due(self, machine: Machine) -> bool:  # noqa: ARG002 - files are seen without it
        """Whether there is any of it."""
        return self.directory.is_dir() and (bool(self._found()) or not any(self.directory.iterdir()))

    def run(self, machine: Machine) -> None:
        """Remove it."""
        for path in self._found():
            Remove(path).run(machine)
        if not any(self.directory.iterdir()):
            Remove(self.directory).run(machine)

    def _found(self) -> list[Path]:
        return [path for pattern in self.patterns for path in self.directory.glob(pattern)]


@dataclass(frozen=True, slots=True)
class Run:
    """A command.

    Attributes:
        fine: exit codes beside 0 that say that what it should do is done.
        unless: a command that succeeds when there is nothing to do, and so must succeed after it.
        advice: what to do where it failed with a certain text: that text, and the advice.
    """

    command: tuple[str, ...]
    fine: tuple[int, ...] = ()
    unless: tuple[str, ...] = ()
    advice: tuple[str, str] | None = None

    def __str__(self) -> str:
        return f"run {' '.join(self.command)}"

    def due(self, machine: Machine) -> bool:
        """Always, but for `unless`."""
        return not self.unless or machine.run(self.unless).code != 0

    def run(self, machine: Machine) -> None:
        """Run it to its end.

        Raises:
            ServiceError: it is not there, or it failed.
        """
        done = machine.run(self.command)
        if done.code not in {0, *self.fine} or (self.unless and machine.run(self.unless).code):
            more = f"; {self.advice[1]}" if self.advice is not None and self.advice[0] in done.said else ""
            raise ServiceError(f"`{' '.join(self.command)}` failed: {done.said or done.code}{more}")


@dataclass(frozen=True, slots=True)
class AfterChange:
    """A step that is needed only where one before it changed a file, now or at a time that failed."""

    step: Step

    def __str__(self) -> str:
        return f"{self.step}, where a file changed"

    def due(self, machine: Machine) -> bool:
        """Whether the step is, once there is a change."""
        return self.step.due(machine)

    def run(self, machine: Machine) -> None:
        """Do it."""
        self.step.run(machine)


@dataclass(frozen=True, slots=True)
class Remains:
    """What may be left in the end, and is told where it is.

    Attributes:
        what: such as "the events are".
        more: how to be rid of it.
    """

    path: Path
    what: str
    more: str = ""

    def __str__(self) -> str:
        return f"{self.what} kept: {self.path}" + (f" ({self.more})" if self.more else "")


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in their order, and what a person is told at the end.

    Attributes:
        mark: a file that is there from the first change to the last step, where there are steps
            for `AfterChange`.
        remains: told where it is there when all is done.
    """

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    mark: Path | None = None
    remains: tuple[Remains, ...] = ()


_CHANGES = (Write, MakeDirectory, Remove)


def carry_out(plan: Plan, tell: Callable[[str], None], machine: Machine | None = None) -> None:
    """Run the steps that are due, telling each, then what the plan has to say.

    Raises:
        ServiceError: one failed; those before it are done, and the next time goes on from there.
    """
    machine = machine or ThisMachine()
    changed = plan.mark is not None and plan.mark.exists()
    for step in plan.steps:
        if isinstance(step, AfterChange) and not changed:
            continue
        try:
            if not step.due(machine):
                continue
            if isinstance(step, _CHANGES) and not changed:
                changed = True
                if plan.mark is not None:
                    Write(plan.mark, b"").run(machine)
            step.run(machine)
        except OSError as error:
            raise ServiceError(f"cannot {step}: {error.strerror or error}") from None
        except LookupError as error:  # no such user
            raise ServiceError(f"cannot {step}: {error}") from None
        tell(str(step))
    if plan.mark is not None:
        plan.mark.unlink(missing_ok=True)
    for note in (*plan.notes, *(str(left) for left in plan.remains if left.path.exists())):
        tell(note)


def _sync(path: Path) -> None:
    """A file's content, or a directory's names: without this a power cut may take a rename back."""
    handle = os.open(path, os.O_RDONLY)
    try:
        sync(handle)
    finally:
        os.close(handle)
