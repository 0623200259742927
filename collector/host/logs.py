"""Logs: one line an event on standard error, logfmt or JSON, without secrets.

Under journald each line carries its priority as `<N>`, which journald takes off again. What is
told is a change of state, or a fault; never a request, and never what is in an event. Warnings
that repeat themselves are folded.
"""

from __future__ import annotations

import logging
import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import structlog

from collector.config.redact import redact_text
from collector.host.folding import Folding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from structlog.typing import Processor, WrappedLogger

    Event = MutableMapping[str, object]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_STDERR = 2

_SECRET_KEY = re.compile(r"secret|token|password|authorization|auth$|private|signature", re.IGNORECASE)
_REDACTED = "[redacted]"


def redact(_logger: WrappedLogger, _method: str, event: Event) -> Event:
    """Hide values under telling keys; and in any text the secret parts of URLs, and credentials."""
    for key, value in event.items():
        if _SECRET_KEY.search(key):
            event[key] = _REDACTED
        elif not isinstance(value, int | float | None):
            text = value if isinstance(value, str) else str(value)
            event[key] = redact_text(text)
    return event


def to_journal(environ: Mapping[str, str]) -> bool:
    """Whether standard error is the journal's stream."""
    with suppress(OSError, ValueError, KeyError):
        device, inode = environ["JOURNAL_STREAM"].split(":")
        status = os.fstat(_STDERR)
        return (status.st_dev, status.st_ino) == (int(device), int(inode))
    return False


class Log:
    """The process's log; what it tells, and how, may be changed at any time.

    Args:
        journal: whether standard error is the journal's.
        write: takes each line.
        clock: seconds of a clock that nobody sets.
    """

    def __init__(
        self,
        *,
        journal: bool = False,
        write: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._write = write or _to_stderr
        self._level = LEVELS["info"]
        self._render: Processor = _logfmt()
        self._labels: dict[str, str] = {}
        self._stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="time")
        self._folding = Folding(self._tell, clock)
        self.lines: dict[str, int] = {}

    def change(
        self, *, level: str, form: Literal["logfmt", "json"], labels: Mapping[str, str] | None = None
    ) -> None:
        """Tell from now on what is at this level or above, in this form, with these labels on each line."""
        self._level = LEVELS[level]
        self._render = structlog.processors.JSONRenderer() if form == "json" else _logfmt()
        self._labels = dict(labels or {})

    def flush(self, *, everything: bool = False) -> None:
        """Tell what repeats were counted, where their time is over; or all."""
        self._folding.flush(everything=everything)

    def install(self) -> None:
        """Make this the log of the process."""
        structlog.configure(
            processors=[
                self._filter,
                structlog.contextvars.merge_contextvars,
                structlog.processors.format_exc_info,
                redact,
                self._folding,
                self._put,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS["debug"]),
            logger_factory=_Nowhere,
            cache_logger_on_first_use=True,
        )
        # Libraries log requests with their URLs; what matters of them is logged by us.
        logging.getLogger().addHandler(logging.NullHandler())
        logging.getLogger().setLevel(logging.CRITICAL)

    def _filter(self, _logger: WrappedLogger, method: str, event: Event) -> Event:
        if LEVELS.get(method, LEVELS["error"]) < self._level:
            raise structlog.DropEvent
        return event

    def _put(self, _logger: WrappedLogger, method: str, event: Event) -> str:
        self._tell(method, dict(event))
        # What was told goes to no logger of structlog's.
        raise structlog.DropEvent

    def _tell(self, method: str, event: dict[str, object]) -> None:
        self.lines[method] = self.lines.get(method, 0) + 1
        fields: Event = {"level": method, **self._labels, **event}
        if not self._journal:  # which stamps lines itself
            fields = self._stamp(None, method, fields)
        line = f"{self._render(None, method, fields)!s}"
        self._write(f"<{_PRIORITY.get(method, 6)}>{line}" if self._journal else line)


def _logfmt() -> Processor:
    return structlog.processors.LogfmtRenderer(key_order=["time", "level", "event"], drop_missing=True)


def _to_stderr(line: str) -> None:
    """Write one line; where standard error cannot take it, it is lost and nothing else is."""
    with suppress(OSError):
        os.write(_STDERR, f"{line}\n".encode(errors="replace"))


class _Nowhere:
    """The logger that structlog wants to hand lines to."""

    def msg(self, line: str) -> None:
        """Take nothing."""

    log = debug = info = warning = error = critical = exception = msg
