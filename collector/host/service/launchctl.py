"""Jobs of launchd, loaded, unloaded and started by `launchctl`, which is believed as far as it can be.

What its exit codes mean: 0 is done. `bootstrap` answers 5 (an input/output error) where the job is
loaded already, while an old one of that name is still ending, and where the property list cannot be
used; 37 while it is under way. `bootout` comes back before the job has ended, sometimes with 36
(in progress). So whether a job is loaded is asked of `print`, which answers 113 where it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.errors import ServiceError

if TYPE_CHECKING:
    from pathlib import Path

    from collector.host.service.machine import Machine

_NOT_LOADED = frozenset({3, 112, 113, 125})
"""No such process, no such domain (nobody is logged in), no such job, and no jobs in such a domain."""

_ENDING = 36
_UNDER_WAY = 37
_GONE = frozenset({3, 113})
_NO_SESSION = frozenset({112, 125, 134})
_DISABLED = 119

_TRIES = 3
PAUSE = 0.5
"""Seconds between two looks."""

UNLOAD_SECONDS = 40
"""Until a job must have ended: launchd kills it `ExitTimeOut` (20 s) after it has asked."""


@dataclass(frozen=True, slots=True)
class JobName:
    """A job in its domain.

    Attributes:
        domain: `system`, or `gui/UID`.
    """

    domain: str
    label: str

    def __str__(self) -> str:
        return f"{self.domain}/{self.label}"

    def loaded(self, machine: Machine) -> bool:
        """Whether launchd has it, running or not.

        Raises:
            ServiceError: that cannot be told.
        """
        told = machine.run(("launchctl", "print", str(self)))
        if told.code and told.code not in _NOT_LOADED:
            raise ServiceError(f"cannot tell whether {self} is loaded: {told.said or told.code}")
        return told.code == 0


@dataclass(frozen=True, slots=True)
class Unload:
    """The job ended, and launchd's sockets for it closed."""

    job: JobName

    def __str__(self) -> str:
        return f"run launchctl bootout {self.job}"

    def due(self, machine: Machine) -> bool:
        """Whether it is loaded."""
        return self.job.loaded(machine)

    def run(self, machine: Machine) -> None:
        """Unload it, and wait until it has ended: until then it cannot be loaded anew.

        Raises:
            ServiceError: launchd refused, or goes on holding it.
        """
        told = machine.run(("launchctl", "bootout", str(self.job)))
        if told.code not in {0, _ENDING, *_GONE}:
            raise ServiceError(f"launchd does not let go of {self.job}: {told.said or told.code}")
        for _ in range(round(UNLOAD_SECONDS / PAUSE)):
            if not self.job.loaded(machine):
                return
            machine.pause(PAUSE)
        raise ServiceError(f"launchd still holds {self.job} after {UNLOAD_SECONDS} seconds; try again")


@dataclass(frozen=True, slots=True)
class Load:
    """The job known to launchd, which listens on its sockets from then on."""

    job: JobName
    listing: Path

    def __str__(self) -> str:
        return f"run launchctl bootstrap {self.job.domain} {self.listing}"

    def due(self, machine: Machine) -> bool:
        """Whether it is not loaded."""
        return not self.job.loaded(machine)

    def run(self, machine: Machine) -> None:
        """Load it.

        Raises:
            ServiceError: launchd refuses it; the text says why, as far as launchd does.
        """
        told = machine.run(("launchctl", "bootstrap", self.job.domain, str(self.listing)))
        for _ in range(_TRIES):
            if told.code == 0 or self.job.loaded(machine):
                return
            # What is ending, or is loaded by somebody else just now, is over in a moment.
            machine.pause(PAUSE)
            if told.code != _UNDER_WAY:
                told = machine.run(("launchctl", "bootstrap", self.job.domain, str(self.listing)))
        if told.code == 0 or self.job.loaded(machine):
            return
        raise ServiceError(
            f"launchd does not take {self.listing}: {told.said or told.code}{_advice(told.code, self.job)}"
        )


@dataclass(frozen=True, slots=True)
class Kickstart:
    """A loaded job, running."""

    job: JobName

    def __str__(self) -> str:
        return f"run launchctl kickstart {self.job}"

    def due(self, machine: Machine) -> bool:  # noqa: ARG002 - launchctl sees for itself
        """Always: one that runs goes on."""
        return True

    def run(self, machine: Machine) -> None:
        """Start it.

        Raises:
            ServiceError: launchd refused.
        """
        told = machine.run(("launchctl", "kickstart", str(self.job)))
        if told.code not in {0, _UNDER_WAY}:
            raise ServiceError(f"launchd does not start {self.job}: {told.said or told.code}")


def _advice(code: int, job: JobName) -> str:
    if code in _NO_SESSION:
        return "; an agent is loaded while its user is logged in at the screen: do it there, or use --system"
    if code == _DISABLED:
        return f"; `launchctl enable {job}` allows it"
    return "; `log show --last 5m --predicate 'process == \"launchd\"'` may tell more"
