"""What the steps of a plan run commands on: this machine, or what stands for one in tests."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from typing import Protocol

from collector.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: its exit code.
        said: what it told, in one line.
    """

    code: int
    said: str


class Machine(Protocol):
    """What commands run on."""

    def run(self, command: tuple[str, ...]) -> Outcome:
        """Run a command to its end.

        Raises:
            ServiceError: there is no such program.
        """

    def pause(self, seconds: float) -> None:
        """Wait."""


class ThisMachine:
    """The one that this process runs on."""

    def run(self, command: tuple[str, ...]) -> Outcome:
        """Run a command to its end, without input.

        Raises:
            ServiceError: there is no such program.
        """
        try:
            done = subprocess.run(  # noqa: S603 - the commands are in this package
                command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
            )
        except FileNotFoundError:
            raise ServiceError(f"there is no {command[0]} on this machine") from None
        return Outcome(done.returncode, " ".join((done.stderr or done.stdout).split()))

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
