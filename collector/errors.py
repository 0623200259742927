"""The errors that end a request, an attempt or the process, as one tree.

    WaystationError
    ├── ConfigError          the configuration cannot be used; carries every problem found
    ├── SecretError          a secret is not there, or is open to others
    ├── UsageError           a command was given something it cannot use
    ├── DaemonUnavailable    no daemon answers where a command looked for it
    ├── EventsRefused        the daemon did not take what `send` gave it
    ├── DemoFailed           a step of the demo did not come about
    ├── OutputFailed         standard output does not take what a command prints
    ├── BindError            a listener cannot be bound
    ├── ServiceError         a step of installing or steering the service failed
    ├── SpoolError
    │   ├── SpoolLocked      another live process owns the spool
    │   ├── SpoolTooNew      the spool was written by a later release
    │   ├── SpoolFull        admission: the quota is reached
    │   ├── NotTaken         no upstream takes what was handed over
    │   └── SpoolUnavailable the disk refused a commit; nothing of it was kept
    │       ├── SpoolNoSpace the disk is full
    │       └── SpoolDamaged what is on disk is not what was written; the next start salvages
    ├── ReloadRefused        a running daemon cannot take up the configuration
    └── UpstreamError        an upstream cannot be used as configured

Errors carry data and say what to do. They are caught at three places: a connection
(the listener answers), an attempt (the lane waits), the process (one line, an exit code).
"""

from __future__ import annotations

from dataclasses import dataclass


class WaystationError(Exception):
    """Base of the tree; `str()` is one line that a person can act on."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration.

    Attributes:
        file: the file's path, or `environment` for an environment variable.
        line: 1-based, or None where there is none.
        key: dotted, e.g. `upstream[0].url`; empty for the file as a whole.
        found: what stands there, redacted where it may be a secret.
        expected: what would be accepted.
    """

    file: str
    line: int | None
    key: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        key = f"{self.key}: " if self.key else ""
        return f"{place}: {key}found {self.found}, expected {self.expected}"


class ConfigError(WaystationError):
    """The configuration cannot be used."""

    exit_code = 78  # EX_CONFIG of sysexits.h

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class SecretError(WaystationError):
    """A secret is not there, or is open to others; its text never holds the secret.

    Attributes:
        found: what is in its place.
        expected: what would be accepted.
        key: of the configuration, which names its place; empty where who tells of it says that.
    """

    exit_code = 78

    def __init__(self, *, found: str, expected: str, key: str = "") -> None:
        super().__init__(f"{key}: found {found}, expected {expected}".removeprefix(": "))
        self.found = found
        self.expected = expected


class UsageError(WaystationError):
    """A command was given something it cannot use."""

    exit_code = 64  # EX_USAGE


class DaemonUnavailable(WaystationError):
    """No daemon answers where a command looked for it."""

    exit_code = 69  # EX_UNAVAILABLE


class EventsRefused(WaystationError):
    """The daemon did not take what `send` gave it; the text is the daemon's reason."""


class DemoFailed(WaystationError):
    """A step of the demo did not come about.

    Attributes:
        step: what should have.
        reason: what happened instead, over as many lines as it takes.
    """

    def __init__(self, *, step: str, reason: str) -> None:
        super().__init__(f"the demo failed where {step}: {reason}")
        self.step = step
        self.reason = reason


class OutputFailed(WaystationError):
    """Standard output does not take what a command prints."""

    exit_code = 74  # EX_IOERR

    def __init__(self, reason: str) -> None:
        super().__init__(f"cannot write output: {reason}")
        self.reason = reason


class BindError(WaystationError):
    """A listener cannot be bound."""

    exit_code = 71  # EX_OSERR

    def __init__(self, *, address: str, reason: str) -> None:
        super().__init__(f"cannot listen on {address}: {reason}")
        self.address = address
        self.reason = reason


class ServiceError(WaystationError):
    """A step of installing or steering the service failed."""


class SpoolError(WaystationError):
    """Something about the spool."""

    exit_code = 74  # EX_IOERR


class SpoolLocked(SpoolError):
    """Another live process owns the spool."""

    exit_code = 75  # EX_TEMPFAIL

    def __init__(self, *, path: str, owner: int | None) -> None:
        who = "another process" if owner is None else f"process {owner}"
        super().__init__(f"the spool {path} is in use by {who}; stop it first, or give another state_dir")
        self.path = path
        self.owner = owner


class SpoolTooNew(SpoolError):
    """The spool was written by a later release."""

    def __init__(self, *, path: str, unknown: tuple[str, ...]) -> None:
        super().__init__(
            f"the spool {path} was written by a later release "
            f"(it has the changes {', '.join(unknown)}); install that release, or give another state_dir"
        )
        self.path = path
        self.unknown = unknown


class SpoolFull(SpoolError):
    """Admission refused a chunk: the quota is reached, or what a lane may have of it.

    Attributes:
        lane: the one to look at; empty for none.
    """

    def __init__(self, *, used: int, quota: int, lane: str = "") -> None:
        whose = f"; lane {lane} holds too much" if lane else ""
        super().__init__(f"the spool is full: {used} of {quota} bytes are in use{whose}")
        self.used = used
        self.quota = quota
        self.lane = lane


class NotTaken(SpoolError):
    """No upstream takes a dialect and product, so nobody would ever end its events."""

    def __init__(self, *, dialect: str, product: str) -> None:
        super().__init__(f"no upstream takes {dialect} {product}".rstrip())
        self.dialect = dialect
        self.product = product


class SpoolUnavailable(SpoolError):
    """The disk refused a commit; nothing of it was kept."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the spool cannot be used: {reason}")
        self.reason = reason


class SpoolDamaged(SpoolUnavailable):
    """What is on disk is not what was written; the next start salvages what can be read.

    Attributes:
        cause: what is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"it is damaged: {reason}")
        self.cause = reason


class SpoolNoSpace(SpoolUnavailable):
    """The disk is full; what was refused was not even begun, or is undone."""


class ReloadRefused(WaystationError):
    """A running daemon cannot take up the configuration, and has changed nothing."""


class UpstreamError(WaystationError):
    """An upstream cannot be used as configured."""

    exit_code = 78

    def __init__(self, *, upstream: str, reason: str) -> None:
        super().__init__(f"upstream {upstream}: {reason}")
        self.upstream = upstream
        self.reason = reason
