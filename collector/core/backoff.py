"""How long a lane waits after a failed attempt.

Full jitter: a wait is anywhere between nothing and a ceiling that doubles with each
failure. Devices that lost the same upstream at the same moment so come back spread out.
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ compares it with
the alternatives: least work for both sides.
"""

from __future__ import annotations

SPREAD = 0.5
"""What devices that were told the same moment spread over, as a share of the time until then."""

MAX_DOUBLINGS = 62
"""Doublings beyond this pass any `max_delay`; a float would overflow after 1,023."""


def full_jitter(failures: int, *, initial: float, max_delay: float, chance: float) -> float:
    """Choose a wait.

    Args:
        failures: failed attempts in a row, the last one included; 0 waits for nothing.
        initial: the ceiling after the first failure, in seconds.
        max_delay: the highest ceiling, in seconds.
        chance: at least 0 and below 1, evenly distributed.

    Returns:
        Seconds, at least 0 and below the ceiling.
    """
    if failures <= 0:
        return 0.0
    ceiling = min(max_delay, initial * 2.0 ** min(failures - 1, MAX_DOUBLINGS))
    return chance * ceiling


def next_delay(
    failures: int, *, initial: float, max_delay: float, chance: float, retry_after: float | None
) -> float:
    """Choose a wait which is no shorter than the upstream asked for.

    An upstream may ask thousands of devices to come back at the same moment. Each comes
    somewhat later than that: by as much as half of what was asked for, within `max_delay`, and
    by no less than full jitter would have it wait.

    Args:
        failures: see `full_jitter`, as for the next three.
        initial: seconds.
        max_delay: seconds.
        chance: at least 0 and below 1.
        retry_after: seconds that the upstream asked for, None where it did not.

    Returns:
        Seconds, at most `retry_after + max_delay`.
    """
    wait = full_jitter(failures, initial=initial, max_delay=max_delay, chance=chance)
    if retry_after is None:
        return wait
    return retry_after + max(wait, chance * min(max_delay, SPREAD * retry_after))
