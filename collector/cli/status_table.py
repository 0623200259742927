"""The status, as tables for people.

No cell is ever cut. A terminal too narrow for a table gets it with short product keys and
without the columns that are all zero, and wraps what is still too long by itself.
"""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING

import click

from collector.cli.columns import Cell, Table, styled
from collector.config.units import rounded_duration, rounded_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collector.admin.status import Status
    from collector.spool.views import LaneView, LedgerRow

_COLOURS = {
    "healthy": "green",
    "narrowing": "yellow",
    "retrying": "yellow",
    "blocked": "red",
    "paused": "yellow",
    "orphaned": "yellow",
}

_CLOCK = {
    "unknown": "events are counted under an unknown day, and their stamps corrected when it is right",
    "plausible": "nobody has confirmed it; the time that the machine is off does not count as age",
}

_LONG_KEY = re.compile(r"(?<=/)([0-9a-fA-F]{8})-[0-9a-fA-F-]{27}$")
"""A product's UUID at the end of a lane's name."""

_LEAST_COLUMNS = 3
"""Of the ledger's numbers: those that a narrow terminal gets even if they are all zero."""


def show(status: Status) -> None:
    """Print it."""
    for line in lines(status):
        click.echo(line)


def lines(status: Status) -> list[str]:
    """It, a line each."""
    return list(_lines(status, _room()))


def show_ledger(rows: Sequence[LedgerRow]) -> None:
    """Print rows of the ledger alone."""
    for line in _fitting(_room(), _ledger(rows, short=False), _ledger(rows, short=True)).lines():
        click.echo(line)


def _room() -> int | None:
    """Columns of the terminal; None where there is none, so that nothing has to fit."""
    if not sys.stdout.isatty():
        return None
    import shutil  # noqa: PLC0415 - for terminals alone

    return shutil.get_terminal_size().columns


def _lines(status: Status, room: int | None) -> Iterator[str]:
    now_ms = time.time_ns() // 1_000_000
    lanes, ledger = status.lanes, status.ledger
    yield from _summary(status, now_ms)
    if status.listeners:
        yield from _listeners(status).lines()
    yield from _fitting(room, _lanes(lanes, now_ms, short=False), _lanes(lanes, now_ms, short=True)).lines()
    for lane in lanes:
        if lane.reason:
            yield f"{lane.name}: {lane.reason}"
        if lane.learned_limit is not None:
            yield f"{lane.name}: the upstream refused batches much over {rounded_size(lane.learned_limit)}"
    yield from _fitting(room, _ledger(ledger, short=False), _ledger(ledger, short=True)).lines()


def _summary(status: Status, now_ms: int) -> Iterator[str]:
    health = styled("healthy", fg="green") if status.healthy else styled("not healthy", fg="red")
    where = (
        f"running, process {status.pid}" if status.running else "no daemon runs; this is the spool as it lies"
    )
    yield f"waystation {status.version}  {health}  {where}"
    yield (
        f"device {status.device}  epoch {status.epoch}  spool {status.spool.path}:"
        f" {rounded_size(status.spool.used_bytes)} of {rounded_size(status.spool.max_bytes)}"
    )
    if status.clock in _CLOCK:
        yield f"clock {status.clock}: {_CLOCK[status.clock]}"
    if not status.spool.healthy:
        yield styled("the last commit failed: see the log", fg="red")
    if status.spool.disk_full:
        yield styled("the disk is full: nothing is accepted until there is room", fg="red")
    if status.spool.refused_requests:
        yield f"{status.spool.refused_requests:,} requests were refused: the spool was full"
    if status.reload_refused:
        yield f"{styled('the last reload was refused', fg='yellow')}: {status.reload_refused}"
    for upstream in status.upstreams:
        if upstream.waiting:
            yield f"upstream {upstream.name} waits for a probe: {upstream.waiting}"
    for salvage in status.salvages:
        ago = rounded_duration(max(0, (now_ms - salvage.at) // 1000))
        told = (
            f"salvaged {ago} ago from {salvage.set_aside} ({salvage.reason}): {salvage.events:,} events"
            f" saved, {salvage.damaged:,} known to be lost {salvage.notes}"
        )
        yield styled(told.rstrip(), fg="yellow")


def _fitting(room: int | None, long: Table, short: Table) -> Table:
    return long if room is None or long.width <= room else short


def _listeners(status: Status) -> Table:
    table = Table("listeners", ("address", "open", "answered"), left=1)
    for listener in status.listeners:
        table.add(listener.address, f"{listener.connections:,}", f"{listener.requests:,}")
    return table


def _lanes(lanes: Sequence[LaneView], now_ms: int, *, short: bool) -> Table:
    table = Table("lanes", ("lane", "state", "waiting", "bytes", "oldest", "dead"), left=2)
    for lane in lanes:
        oldest = lane.oldest_received_at
        table.add(
            _name(lane.name, short=short),
            Cell(lane.state, _COLOURS.get(lane.state)),
            f"{lane.pending_events:,}",
            rounded_size(lane.pending_bytes),
            "" if oldest is None else rounded_duration(max(0, (now_ms - oldest) // 1000)),
            f"{lane.dead_letters:,}",
        )
    return table


def _ledger(rows: Sequence[LedgerRow], *, short: bool) -> Table:
    columns: dict[str, list[int]] = {
        "accepted": [row.accepted for row in rows],
        "pending": [row.pending for row in rows],
        "delivered": [row.delivered for row in rows],
        "dead": [row.dead for row in rows],
        "expired": [row.expired for row in rows],
        "evicted": [row.evicted for row in rows],
        "damaged": [row.damaged for row in rows],
        "outcome unknown": [row.outcome_unknown for row in rows],
    }
    always = list(columns)[: _LEAST_COLUMNS if short else -1]
    shown = {name: numbers for name, numbers in columns.items() if name in always or any(numbers)}
    table = Table("ledger (UTC day of acceptance)", ("lane", "day", *shown), left=2)
    for index, row in enumerate(rows):
        numbers = (f"{column[index]:,}" for column in shown.values())
        table.add(_name(row.lane, short=short), row.day, *numbers)
    return table


def _name(lane: str, *, short: bool) -> str:
    return _LONG_KEY.sub(r"\1…", lane) if short else lane
