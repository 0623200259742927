"""`waystation demo`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collector.demo.report import Report

MIN_EVENTS = 100
MAX_EVENTS = 100_000
MAX_FAULTS = 10
"""That are told one by one."""


@click.command()
@click.option(
    "--events",
    type=click.IntRange(MIN_EVENTS, MAX_EVENTS),
    default=4000,
    show_default=True,
    help="How many events to generate.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same events.")
def demo(events: int, seed: int) -> int:
    """Show events going all the way through, on this machine.

    Starts a daemon and an upstream as processes of their own, posts events in both
    dialects, takes the upstream away, kills the daemon with SIGKILL, brings both back, and
    counts what arrived. It touches nothing outside a temporary directory, which it removes.

    Leaves with 0 when nothing was lost, altered, out of order or sent twice unrecognised,
    and with 1 when anything was.
    """
    import trio  # noqa: PLC0415 - other commands must not pay for the demo's imports

    from collector.demo.scenario import Stopped, Surroundings, run  # noqa: PLC0415

    start = time.monotonic()

    def tell(text: str) -> None:
        click.echo(f"{time.monotonic() - start:5.1f} s  {text}")

    around = Surroundings(tell=tell, now_ms=lambda: time.time_ns() // 1_000_000, environ=os.environ)
    try:
        report = trio.run(run, events, seed, around, strict_exception_groups=True)
    except Stopped as stopped:
        click.echo(f"waystation: stopped by {stopped}; nothing is left behind", err=True)
        return 128 + stopped.number
    _show(report)
    return 1 if report.faults else 0


def _show(report: Report) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table("events", *report.counts, "together")
    for column in table.columns[1:]:
        column.justify = "right"
    counts = [*report.counts.values(), report.total]
    good, bad = "green", "bold red"
    for label, name, must_be_zero in (
        ("acknowledged by the daemon", "acknowledged", False),
        ("arrived upstream, and verified", "arrived", False),
        ("lost", "lost", True),
        ("altered", "altered", True),
        ("out of order", "out_of_order", True),
        ("sent twice, recognised by key", "again", False),
        ("sent twice, not recognised", "unrecognised", True),
        ("without an answer when killed", "unanswered", False),
        ("of these arrived all the same", "unanswered_arrived", False),
    ):
        numbers: list[int] = [getattr(count, name) for count in counts]
        style = (bad if any(numbers) else good) if must_be_zero else None
        table.add_row(label, *(f"{number:,}" for number in numbers), style=style)
    console = Console(highlight=False)
    console.print(table)
    answers = [f"{times:,} x {answer}" for answer, times in sorted(report.answers.items())]
    click.echo(f"the upstream's answers: {', '.join(answers)}")
    for dialect, row in report.ledger.items():
        click.echo(
            f"the daemon's own ledger: {dialect}: {row.accepted:,} accepted = {row.delivered:,} delivered"
            f" + {row.pending:,} pending + {row.dead:,} dead + {row.gone:,} gone"
        )
    for fault in report.faults[:MAX_FAULTS]:
        click.echo(f"WRONG: {fault}")
    if len(report.faults) > MAX_FAULTS:
        click.echo(f"WRONG: and {len(report.faults) - MAX_FAULTS:,} more like these")
    if not report.faults:
        click.echo("Nothing was lost, altered or out of order; what was sent twice was recognised.")
