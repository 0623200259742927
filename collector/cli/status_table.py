"""The status, as tables for people."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from collector.config.units import format_duration, format_size

if TYPE_CHECKING:
    from collector.admin.status import Status
    from collector.spool.overview import LaneView

_COLOURS = {
    "healthy": "green",
    "new": "default",
    "retrying": "yellow",
    "blocked": "red",
    "orphaned": "yellow",
}


def show(status: Status) -> None:
    """Print it."""
    console = Console(highlight=False, soft_wrap=True)
    now_ms = time.time_ns() // 1_000_000
    health = "[green]healthy[/green]" if status.healthy else "[red]not healthy[/red]"
    where = (
        f"running, process {status.pid}" if status.running else "no daemon runs; this is the spool as it lies"
    )
    console.print(f"waystation {status.version}  {health}  {where}")
    console.print(
        f"device {status.device}  epoch {status.epoch}  spool {status.spool.path}:"
        f" {format_size(status.spool.used_bytes)} of {format_size(status.spool.max_bytes)}"
    )
    if not status.spool.healthy:
        console.print("[red]the last commit failed: see the log[/red]")
    if status.spool.disk_full:
        console.print("[red]the disk is full: nothing is accepted until there is room[/red]")
    if status.spool.refused_requests:
        console.print(f"{status.spool.refused_requests:,} requests were refused: the spool was full")
    for upstream in status.upstreams:
        if upstream.waiting:
            console.print(f"upstream {upstream.name} waits for a probe: {upstream.waiting}", markup=False)
    if status.listeners:
        console.print(_listeners(status))
    console.print(_lanes(status.lanes, now_ms))
    console.print(_ledger(status))


def _table(title: str, *columns: str, left: int) -> Table:
    """A table whose first `left` columns are text and the others numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", overflow="fold")
    return table


def _listeners(status: Status) -> Table:
    table = _table("listeners", "address", "open", "answered", left=1)
    for listener in status.listeners:
        table.add_row(listener.address, f"{listener.connections:,}", f"{listener.requests:,}")
    return table


def _lanes(lanes: list[LaneView], now_ms: int) -> Table:
    table = _table("lanes", "lane", "state", "waiting", "bytes", "oldest", "dead letters", "reason", left=2)
    table.columns[-1].justify = "left"
    for lane in lanes:
        oldest = lane.oldest_received_at
        table.add_row(
            lane.name,
            f"[{_COLOURS.get(lane.state, 'default')}]{lane.state}",
            f"{lane.pending_events:,}",
            format_size(lane.pending_bytes),
            "" if oldest is None else format_duration(max(0, (now_ms - oldest) // 1000)),
            f"{lane.dead_letters:,}",
            lane.reason.replace("[", r"\["),
        )
    return table


def _ledger(status: Status) -> Table:
    table = _table(
        "ledger (UTC day of acceptance)",
        "lane",
        "day",
        "accepted",
        "pending",
        "delivered",
        "dead",
        "expired",
        "evicted",
        "damaged",
        left=2,
    )
    for row in status.ledger:
        numbers = (
            row.accepted,
            row.pending,
            row.delivered,
            row.dead,
            row.expired,
            row.evicted,
            row.damaged,
        )
        table.add_row(row.lane, row.day, *(f"{number:,}" for number in numbers))
    return table
