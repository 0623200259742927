"""Days of acceptance: whole UTC days since 1970."""

from __future__ import annotations

import datetime as dt

UNKNOWN_DAY = 0
"""The day of what was accepted while the clock was not known good."""

MS_A_DAY = 86_400_000


def utc_day(ms: int, *, clock_good: bool) -> int:
    """The UTC day of an instant, in days since 1970; `UNKNOWN_DAY` by a bad clock."""
    return ms // MS_A_DAY if clock_good else UNKNOWN_DAY


def day_name(day: int) -> str:
    """`YYYY-MM-DD`, or `unknown`."""
    if day == UNKNOWN_DAY:
        return "unknown"
    return (dt.date(1970, 1, 1) + dt.timedelta(days=day)).isoformat()


def day_number(name: str) -> int:
    """The day of a name, in days since 1970; the inverse of `day_name`.

    Raises:
        ValueError: it names none.
    """
    if name == "unknown":
        return UNKNOWN_DAY
    try:
        day = dt.datetime.strptime(name, "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
    except ValueError:
        raise ValueError(f"{name}: expected a day such as 2026-11-17, or unknown") from None
    return (day - dt.date(1970, 1, 1)).days
