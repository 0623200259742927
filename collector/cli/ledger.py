"""`waystation ledger`."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING

import click

from collector.cli.options import complete_lane, config_option
from collector.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from collector.spool.views import LedgerRow

FATES = ("accepted", "delivered", "pending", "dead", "expired", "evicted", "damaged", "outcome_unknown")
LOST = ("expired", "evicted", "damaged")
UNKNOWN = "unknown"
"""The day of what was accepted while the clock was plainly wrong."""


@click.command()
@config_option
@click.option(
    "--day", metavar="DAY", help="A UTC day: 2026-11-17, today, yesterday or unknown. [default: all]"
)
@click.option("--lane", metavar="LANE", shell_complete=complete_lane, help="Of this lane alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def ledger(config_path: Path | None, day: str | None, lane: str | None, *, as_json: bool) -> None:
    """Tell what became of a day's events, by lane.

    Exits with 0 when every event that was accepted then has been delivered, and with 1 when some
    wait, or ended otherwise. A day is that of acceptance, by UTC.
    """
    import msgspec  # noqa: PLC0415 - other commands must not pay for these

    from collector.cli.status_source import current_status, reach  # noqa: PLC0415

    wanted = None if day is None else read_day(day, dt.datetime.now(dt.UTC).date())
    found = current_status(reach(config_path, os.environ)[0])
    if lane is not None and lane not in {known.name for known in found.lanes}:
        raise UsageError(f"there is no lane {lane}; `waystation status` lists them")
    rows = [row for row in found.ledger if wanted in {None, row.day} and lane in {None, row.lane}]
    total = {fate: sum(getattr(row, fate) for row in rows) for fate in FATES}
    complete = total["accepted"] == total["delivered"]
    # A lane's own count is of one lane; what apps handed over is known for all of them together.
    received = [row.events for row in found.received if lane is None and wanted in {None, row.day}]
    if as_json:
        document = {"day": wanted, "complete": complete, "total": total, "lanes": rows}
        if lane is None:
            document["received"] = sum(received)
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
    else:
        from collector.cli.status_table import show_ledger  # noqa: PLC0415

        if rows:
            show_ledger(rows)
        click.echo(verdict(rows, wanted) + handed_over(sum(received), total["accepted"]))
    if not complete:
        raise click.exceptions.Exit(1)


def read_day(text: str, today: dt.date) -> str:
    """A day as the ledger writes it.

    Raises:
        UsageError: it is none.
    """
    if text == UNKNOWN:
        return text
    if text in {"today", "yesterday"}:
        return (today - dt.timedelta(days=text == "yesterday")).isoformat()
    try:
        return dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=dt.UTC).date().isoformat()
    except ValueError:
        raise UsageError(f"--day {text}: expected 2026-11-17, today, yesterday or unknown") from None


def verdict(rows: Sequence[LedgerRow], day: str | None) -> str:
    """The answer in a sentence."""
    when = "" if day is None else f" on {day} (UTC)" if day != UNKNOWN else " on an unknown day"
    total = {fate: sum(getattr(row, fate) for row in rows) for fate in FATES}
    accepted = total["accepted"]
    if not accepted:
        return f"No events were accepted{when}."
    if total["delivered"] == accepted:
        return f"All {accepted:,} events that were accepted{when} have been delivered."
    lost = sum(total[fate] for fate in LOST)
    parts = [
        f"{total['pending']:,} wait" if total["pending"] else "",
        f"{total['dead']:,} were refused upstream (waystation dead-letters list)" if total["dead"] else "",
        f"{lost:,} ended undelivered (expired, evicted or damaged)" if lost else "",
    ]
    return (
        f"Of {accepted:,} events that were accepted{when}, {total['delivered']:,} have been delivered; "
        f"{', '.join(part for part in parts if part)}."
    )


def handed_over(received: int, accepted: int) -> str:
    """What to add where lanes share events, and so count more of them than apps handed over."""
    if not 0 < received < accepted:
        return ""
    return f" Apps handed over {received:,} events; each counts once in every lane that takes it."
