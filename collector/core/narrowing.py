"""Narrowing: how a lane finds the events that an upstream refuses, and the size it accepts.

A batch that is refused as a whole becomes a range of suspects. The lane sends the left
half of what is left of them, again and again: a half that passes is behind it, a half that
is refused is the new range. One bad event among n so costs about log2(n) requests; every
good one is delivered, in order, with one batch outstanding.
"""

from __future__ import annotations

REJECT_MIN_JUDGED = 100
REJECT_MIN_REJECTED = 10
"""Fewer events, or fewer refusals, than these say nothing about a deploy."""

SMALLEST_LIMIT = 1024
"""Bytes. A learned limit goes no lower; a single event is sent whatever its size."""

_NEAR = 0.5
_GROWTH = 1.02


def half_end(first: int, suspect_end: int) -> int:
    """Where the left half of the suspects from `first` up to `suspect_end` ends; it is never empty."""
    return first + max(1, (suspect_end - first) // 2)


def bad_deploy(*, judged: int, rejected: int, limit: float) -> bool:
    """Whether so many events are refused that the upstream, not the events, must be at fault.

    Args:
        judged: events delivered or refused lately.
        rejected: the refused among them.
        limit: the share that is still believed.
    """
    return judged >= REJECT_MIN_JUDGED and rejected >= REJECT_MIN_REJECTED and rejected > limit * judged


def limit_after_too_large(size: int) -> int:
    """The size to try after a batch of `size` bytes was too large."""
    return max(SMALLEST_LIMIT, size // 2)


def limit_after_delivery(limit: int | None, *, size: int, most: int) -> int | None:
    """The learned limit after a batch of `size` bytes passed: a little more, if it came near.

    Near is half: a batch that its limit ended holds at least that, unless one large event came next.

    Returns:
        None once the limit is no lower than the configured `most`.
    """
    if limit is None or size < _NEAR * limit:
        return limit
    grown = int(limit * _GROWTH) + 1
    return None if grown >= most else grown
