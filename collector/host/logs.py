"""Logs: one line an event on standard error, logfmt or JSON, without secrets.

Under journald each line carries its priority as `<N>`, which journald takes off again.
"""

from __future__ import annotations

import logging
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from structlog.typing import Processor, WrappedLogger

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_STDERR = 2

_SECRET_KEY = re.compile(r"secret|token|password|authorization|auth$|private|signature", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")


def redact(
    _logger: WrappedLogger, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """Hide values under telling keys, and the userinfo of URLs anywhere."""
    for key, value in event.items():
        if _SECRET_KEY.search(key):
            event[key] = "[redacted]"
        elif isinstance(value, str) and "://" in value:
            event[key] = _USERINFO.sub("[redacted]@", value)
    return event


def to_journal(environ: Mapping[str, str]) -> bool:
    """Whether standard error is the journal's stream."""
    with suppress(OSError, ValueError, KeyError):
        device, inode = environ["JOURNAL_STREAM"].split(":")
        status = os.fstat(_STDERR)
        return (status.st_dev, status.st_ino) == (int(device), int(inode))
    return False


_lines: dict[str, int] = {}


def lines() -> Mapping[str, int]:
    """Lines that were told so far, by level."""
    return dict(_lines)


def _count(
    _logger: WrappedLogger, method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    _lines[method] = _lines.get(method, 0) + 1
    return event


def set_up(level: str, form: Literal["logfmt", "json"], environ: Mapping[str, str]) -> None:
    """Set up logging for the process."""
    journal = to_journal(environ)
    render: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.processors.LogfmtRenderer(key_order=["time", "level", "event"], drop_missing=True)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _count,
            structlog.processors.format_exc_info,
            redact,
            # journald stamps lines itself.
            *([] if journal else [structlog.processors.TimeStamper(fmt="iso", utc=True, key="time")]),
            _Prefixed(render) if journal else render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=_Lines,
        cache_logger_on_first_use=True,
    )
    # Libraries log requests with their URLs; what matters of them is logged by us.
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger().setLevel(logging.CRITICAL)


class _Lines:
    """Writes lines to standard error; where that cannot take them, they are lost and nothing else is."""

    def msg(self, line: str) -> None:
        """Write one line."""
        with suppress(OSError):
            os.write(_STDERR, f"{line}\n".encode(errors="replace"))

    log = debug = info = warning = error = critical = exception = msg


class _Prefixed:
    """A renderer whose lines carry their priority."""

    def __init__(self, render: Processor) -> None:
        self._render = render

    def __call__(self, logger: WrappedLogger, method: str, event: MutableMapping[str, object]) -> str:
        return f"<{_PRIORITY.get(method, 6)}>{self._render(logger, method, event)!s}"
