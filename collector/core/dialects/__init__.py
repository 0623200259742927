"""The public wire formats: what a body must be, how it is answered, what its events gain.

A dialect reads one request's body whole and decides: all of its events are taken, or none.
Nothing that a dialect accepts fails later to be cut apart or rendered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collector.core.http import Answer


class Accepted(NamedTuple):
    """All events of the body are good.

    Attributes:
        events: how many; 0 for an empty array, of which nothing is stored.
        published_at: when the client says it sent them, in ms since 1970, if it says so.
        answer: what the client gets once the events are durable.
        warnings: what was found amiss and taken all the same.
    """

    events: int
    published_at: int | None
    answer: Answer
    warnings: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """The body is not taken, no part of it."""

    answer: Answer


Read = Accepted | Refused
