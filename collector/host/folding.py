"""Folding: a warning that is told again and again is told once, then counted.

Two lines are the same where level, event and all texts in them are, numbers aside. The first
is told at once; those like it that follow within `FOLD_SECONDS` are counted, and told as one line
with `repeated` when the time is over. A line that is no warning and names the same lane ends
the folding of that lane's: a state that changes back and forth is told each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

FOLD_SECONDS = 60.0

MAX_FOLDED = 256
"""Different lines that are remembered; beyond it the oldest is told, and forgotten."""

_FOLDED = frozenset({"warning", "error", "critical"})
_APART = frozenset({"exception", "batch", "where"})
"""Fields in which lines may differ and be the same."""


@dataclass(slots=True)
class _Line:
    method: str
    event: dict[str, object]
    until: float
    repeated: int = 0


class Folding:
    """The processor that folds.

    Args:
        tell: renders and writes a line, given its level and fields.
        clock: seconds of a clock that nobody sets.
    """

    def __init__(self, tell: Callable[[str, dict[str, object]], None], clock: Callable[[], float]) -> None:
        self._tell = tell
        self._clock = clock
        self._lines: dict[tuple[object, ...], _Line] = {}

    def __call__(
        self, _logger: object, method: str, event: MutableMapping[str, object]
    ) -> MutableMapping[str, object]:
        """Let a line through, or count it.

        Raises:
            structlog.DropEvent: it was counted.
        """
        if method not in _FOLDED:
            if "lane" in event:
                self._end(lambda line: line.event.get("lane") == event["lane"])
            return event
        now = self._clock()
        key = (method, *((name, text) for name, text in event.items() if _tells_apart(name, text)))
        line = self._lines.get(key)
        if line is not None and now < line.until:
            line.repeated += 1
            line.event = dict(event)
            raise structlog.DropEvent
        if line is not None and line.repeated:
            event["repeated"] = line.repeated
        self._lines.pop(key, None)
        if len(self._lines) >= MAX_FOLDED:
            oldest = next(iter(self._lines.values()))
            self._end(lambda line: line is oldest)
        self._lines[key] = _Line(method, dict(event), now + FOLD_SECONDS)
        return event

    def flush(self, *, everything: bool = False) -> None:
        """Tell what was counted and is over; or all of it."""
        now = self._clock()
        self._end(lambda line: everything or now >= line.until)

    def _end(self, over: Callable[[_Line], bool]) -> None:
        for key, line in [(key, line) for key, line in self._lines.items() if over(line)]:
            del self._lines[key]
            if line.repeated:
                self._tell(line.method, {**line.event, "repeated": line.repeated})


def _tells_apart(name: str, value: object) -> bool:
    return isinstance(value, str) and name not in _APART
