"""The status, as tables for people.

No cell is ever cut. A terminal too narrow for a table gets it with short product keys and
without the columns that are all zero, and wraps what is still too long by itself.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from collector.config.units import rounded_duration, rounded_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.admin.status import Status
    from collector.spool.overview import LaneView, LedgerRow

_COLOURS = {
    "healthy": "green",
    "new": "default",
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

_AS_WIDE_AS_IT_TAKES = 10_000
"""Columns; rich makes no table wider than its content."""

_LONG_KEY = re.compile(r"(?<=/)([0-9a-fA-F]{8})-[0-9a-fA-F-]{27}$")
"""A product's UUID at the end of a lane's name."""

_LEAST_COLUMNS = 3
"""Of the ledger's numbers: those that a narrow terminal gets even if they are all zero."""


def show(status: Status) -> None:
    """Print it."""
    # Through click, because rich ends the process by itself where nobody reads any more.
    for line in lines(status):
        click.echo(line)


def lines(status: Status) -> list[str]:
    """It, a line each."""
    console = Console(highlight=False, soft_wrap=True)
    room = console.width if console.is_terminal else _AS_WIDE_AS_IT_TAKES
    console.width = _AS_WIDE_AS_IT_TAKES
    now_ms = time.time_ns() // 1_000_000
    lanes, ledger = status.lanes, status.ledger
    with console.capture() as captured:
        _summary(console, status, now_ms)
        if status.listeners:
            console.print(_listeners(status))
        console.print(
            _fitting(console, room, _lanes(lanes, now_ms, short=False), _lanes(lanes, now_ms, short=True))
        )
        for lane in lanes:
            if lane.reason:
                console.print(f"{lane.name}: {lane.reason}", markup=False)
            if lane.learned_limit is not None:
                size = rounded_size(lane.learned_limit)
                console.print(f"{lane.name}: the upstream refused batches much over {size}", markup=False)
        console.print(_fitting(console, room, _ledger(ledger, short=False), _ledger(ledger, short=True)))
    return [line.rstrip() for line in captured.get().splitlines()]


def show_ledger(rows: Sequence[LedgerRow]) -> None:
    """Print rows of the ledger alone."""
    console = Console(highlight=False, soft_wrap=True)
    room = console.width if console.is_terminal else _AS_WIDE_AS_IT_TAKES
    console.width = _AS_WIDE_AS_IT_TAKES
    with console.capture() as captured:
        console.print(_fitting(console, room, _ledger(rows, short=False), _ledger(rows, short=True)))
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def _summary(console: Console, status: Status, now_ms: int) -> None:
    health = "[green]healthy[/green]" if status.healthy else "[red]not healthy[/red]"
    where = (
        f"running, process {status.pid}" if status.running else "no daemon runs; this is the spool as it lies"
    )
    console.print(f"waystation {status.version}  {health}  {where}")
    console.print(
        f"device {status.device}  epoch {status.epoch}  spool {status.spool.path}:"
        f" {rounded_size(status.spool.used_bytes)} of {rounded_size(status.spool.max_bytes)}",
        markup=False,
    )
    if status.clock in _CLOCK:
        console.print(f"clock {status.clock}: {_CLOCK[status.clock]}", markup=False)
    if not status.spool.healthy:
        console.print("[red]the last commit failed: see the log[/red]")
    if status.spool.disk_full:
        console.print("[red]the disk is full: nothing is accepted until there is room[/red]")
    if status.spool.refused_requests:
        console.print(f"{status.spool.refused_requests:,} requests were refused: the spool was full")
    if status.reload_refused:
        console.print("[yellow]the last reload was refused[/yellow]: " + escape(status.reload_refused))
    for upstream in status.upstreams:
        if upstream.waiting:
            console.print(f"upstream {upstream.name} waits for a probe: {upstream.waiting}", markup=False)
    for salvage in status.salvages:
        ago = rounded_duration(max(0, (now_ms - salvage.at) // 1000))
        console.print(
            f"salvaged {ago} ago from {salvage.set_aside} ({salvage.reason}): {salvage.events:,} events"
            f" saved, {salvage.damaged:,} known to be lost {salvage.notes}".rstrip(),
            markup=False,
            style="yellow",
        )


def _fitting(console: Console, room: int, long: Table, short: Table) -> Table:
    return long if Measurement.get(console, console.options, long).maximum <= room else short


def _table(title: str, *columns: str, left: int) -> Table:
    """A table whose first `left` columns are text and the others numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", no_wrap=True)
    return table


def _listeners(status: Status) -> Table:
    table = _table("listeners", "address", "open", "answered", left=1)
    for listener in status.listeners:
        table.add_row(escape(listener.address), f"{listener.connections:,}", f"{listener.requests:,}")
    return table


def _lanes(lanes: Sequence[LaneView], now_ms: int, *, short: bool) -> Table:
    table = _table("lanes", "lane", "state", "waiting", "bytes", "oldest", "dead", left=2)
    for lane in lanes:
        oldest = lane.oldest_received_at
        table.add_row(
            _name(lane.name, short=short),
            f"[{_COLOURS.get(lane.state, 'default')}]{lane.state}",
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
    table = _table("ledger (UTC day of acceptance)", "lane", "day", *shown, left=2)
    for index, row in enumerate(rows):
        numbers = (f"{column[index]:,}" for column in shown.values())
        table.add_row(_name(row.lane, short=short), row.day, *numbers)
    return table


def _name(lane: str, *, short: bool) -> str:
    return escape(_LONG_KEY.sub(r"\1…", lane) if short else lane)
