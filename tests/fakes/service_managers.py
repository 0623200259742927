"""systemd and launchd as far as `waystation service` sees them: what they answer, and what they then hold.

Both hold units and jobs as they were when they were told to read them, which is what a restart that
was left out shows in. launchd's exit codes are those that `launchctl` documents and others have
reported: 3, 5, 36, 37, 112, 113, 119 and 125.
"""

from __future__ import annotations

import plistlib
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers.expat import ExpatError

from collector.host.service.machine import Outcome

DONE = Outcome(0, "")


class Recorder:
    """Keeps what was run."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, ...]] = []

    def run(self, command: tuple[str, ...]) -> Outcome:
        self.ran.append(command)
        return self.answer(command)

    def answer(self, command: tuple[str, ...]) -> Outcome:
        raise NotImplementedError

    def pause(self, seconds: float) -> None:
        """Time passes at once."""


class FakeSystemd(Recorder):
    """Args:
    directory: of the unit files.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self.loaded: dict[str, str] = {}
        self.running: dict[str, str] = {}
        self.enabled: set[str] = set()

    def answer(self, command: tuple[str, ...]) -> Outcome:
        if command[0] != "systemctl":
            return DONE
        verb, *units = [word for word in command[1:] if word != "--user"]
        verbs = {
            "daemon-reload": self._reload, "enable": self._enable, "disable": self._disable,
            "start": self._start, "stop": self._stop,
        }  # fmt: skip
        refused = verbs[verb](units)
        return Outcome(5 if "load" in refused else 1, refused) if refused else DONE

    def _reload(self, _: list[str]) -> str:
        self.loaded = {path.name: path.read_text() for path in self._directory.glob("waystation*")}
        return ""

    def _enable(self, units: list[str]) -> str:
        missing = self._without_file(units)
        self.enabled.update(() if missing else units)
        return missing

    def _disable(self, units: list[str]) -> str:
        missing = self._without_file(units)
        self.enabled.difference_update(() if missing else units)
        return missing

    def _without_file(self, units: list[str]) -> str:
        missing = [name for name in units if not (self._directory / name).exists()]
        return f"Unit file {missing[0]} does not exist." if missing else ""

    def _start(self, units: list[str]) -> str:
        unknown = [name for name in units if name not in self.loaded]
        for name in units if not unknown else ():
            self.running.setdefault(name, self.loaded[name])
        return f"Unit {unknown[0]} not found, cannot be loaded." if unknown else ""

    def _stop(self, units: list[str]) -> str:
        unknown = [name for name in units if name not in {*self.loaded, *self.running}]
        for name in units:
            self.running.pop(name, None)
        return f"Unit {unknown[0]} not loaded." if unknown else ""

    def state(self) -> object:
        return (self.loaded, self.running, self.enabled)


@dataclass
class LoadedJob:
    """Attributes:
    ending: pauses until it is gone, once it was told to end.
    """

    content: bytes
    runs: bool = True
    ending: int | None = None


@dataclass
class FakeLaunchd(Recorder):
    """launchd, and the accounts of its machine.

    Attributes:
        slow: pauses that a job takes to end.
        refusals: what the next calls of `bootstrap` answer, whatever they should.
        domains: those that there are: a user's only while it is logged in.
        disabled: jobs that must not be loaded.
    """

    slow: int = 0
    refusals: list[int] = field(default_factory=list)
    domains: set[str] = field(default_factory=lambda: {"system", "gui/501"})
    disabled: set[str] = field(default_factory=set)
    accounts: set[str] = field(default_factory=set)
    jobs: dict[str, LoadedJob] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def pause(self, seconds: float) -> None:
        for name, job in list(self.jobs.items()):
            if job.ending is not None:
                job.ending -= 1
                if job.ending <= 0:
                    del self.jobs[name]

    def answer(self, command: tuple[str, ...]) -> Outcome:
        match command:
            case ("launchctl", "bootstrap", domain, listing):
                return self._bootstrap(domain, Path(listing))
            case ("launchctl", verb, name):
                verbs = {
                    "print": self._print, "enable": self._enable,
                    "bootout": self._bootout, "kickstart": self._kickstart,
                }  # fmt: skip
                return verbs[verb](name)
            case ("dscl", ".", "-read", path):
                return DONE if path in self.accounts else Outcome(56, "eDSRecordNotFound")
            case ("dseditgroup", "-o", "create", *_, name):
                self.accounts.add(f"/Groups/{name}")
            case ("sysadminctl", "-addUser", name, *_):
                self.accounts.add(f"/Users/{name}")
            case _:
                raise AssertionError(command)
        return DONE

    def _print(self, name: str) -> Outcome:
        if name.rpartition("/")[0] not in self.domains:
            return Outcome(112, f"Bad request. Could not find domain for {name}")
        return DONE if name in self.jobs else _not_found(name)

    def _enable(self, name: str) -> Outcome:
        self.disabled.discard(name)
        return DONE

    def _kickstart(self, name: str) -> Outcome:
        if name not in self.jobs:
            return _not_found(name)
        ran, self.jobs[name].runs = self.jobs[name].runs, True
        return Outcome(37, "Operation already in progress") if ran else DONE

    def _bootout(self, name: str) -> Outcome:
        if name not in self.jobs:
            return Outcome(3, "Boot-out failed: 3: No such process")
        if self.slow:
            self.jobs[name].ending = self.slow
            return Outcome(36, "Boot-out failed: 36: Operation now in progress")
        del self.jobs[name]
        return DONE

    def _bootstrap(self, domain: str, listing: Path) -> Outcome:
        if self.refusals:
            code = self.refusals.pop(0)
            return Outcome(code, f"Bootstrap failed: {code}: as was asked for")
        if domain not in self.domains:
            return Outcome(125, "Bootstrap failed: 125: Domain does not support specified action")
        name = f"{domain}/{_label(listing)}"
        if name in self.disabled:
            return Outcome(119, "Bootstrap failed: 119: Service is disabled")
        if not _label(listing) or name in self.jobs:
            return Outcome(5, "Bootstrap failed: 5: Input/output error")
        self.jobs[name] = LoadedJob(listing.read_bytes())
        return DONE

    def state(self) -> object:
        return (self.jobs, self.accounts)


def _not_found(name: str) -> Outcome:
    return Outcome(113, f'Could not find service "{name}"')


def _label(listing: Path) -> str:
    """Of a property list; empty where there is none, or none that can be read."""
    try:
        label: str = plistlib.loads(listing.read_bytes())["Label"]
    except (OSError, ValueError, ExpatError, KeyError):
        return ""
    return label
