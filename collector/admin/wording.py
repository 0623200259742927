"""Instants, ages and foreign texts, as the status page words them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from collector.config.units import rounded_duration
from collector.core.days import MS_A_DAY


@dataclass(frozen=True, slots=True)
class Since:
    """An instant, for people and for machines, and how long ago it was."""

    at: str
    iso: str
    ago: str


def since(ms: int, now_ms: int) -> Since:
    """An instant, ms since 1970."""
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=ms)
    same_day = ms // MS_A_DAY == now_ms // MS_A_DAY
    return Since(
        at=moment.strftime("%H:%M:%S UTC" if same_day else "%Y-%m-%d %H:%M UTC"),
        iso=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        ago=age(ms, now_ms),
    )


def age(ms: int, now_ms: int) -> str:
    """How long ago that was."""
    return rounded_duration(max(0, now_ms - ms) // 1000)


def one_line(text: str) -> str:
    """A text as upstreams made it, without what could steer how it is shown."""
    return "".join(char if char.isprintable() else " " for char in text)
