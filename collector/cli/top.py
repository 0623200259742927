"""`waystation top`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from collector.cli.live import count_option, interval_option, repeat
from collector.cli.options import config_option

if TYPE_CHECKING:
    from pathlib import Path

    from collector.admin.status import Status
    from collector.cli.rates import Rates
    from collector.config.model import Config


@click.command()
@config_option
@interval_option
@count_option
def top(config_path: Path | None, interval: float, count: int | None) -> None:
    """Show how fast events come and go, by lane, again and again.

    In the last column is when nothing would wait any more, at these rates.
    """
    from collector.cli.status_source import reach  # noqa: PLC0415 - other commands must not pay for it

    view = View(reach(config_path, os.environ)[0])
    view.look()
    time.sleep(min(interval, 1.0))
    repeat(view.frame, interval=interval, count=count)


class View:
    """What was seen last, and what is to be seen now."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._last: tuple[float, Status]

    def look(self) -> None:
        """See the daemon for the first time.

        Raises:
            DaemonUnavailable: it does not answer.
        """
        self._last = self._seen()

    def frame(self) -> str:
        """The rates since the last frame.

        Raises:
            DaemonUnavailable: the daemon does not answer.
        """
        from collector.cli.rates import rates  # noqa: PLC0415

        (then, before), (now, after) = self._last, self._seen()
        self._last = (now, after)
        return render(after, rates(before, after, seconds=max(now - then, 0.001)))

    def _seen(self) -> tuple[float, Status]:
        from collector.cli.admin_socket import daemon_status  # noqa: PLC0415

        return time.monotonic(), daemon_status(self._config)


def render(status: Status, rates: Rates) -> str:
    """A frame."""
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from collector.config.units import rounded_duration, rounded_size  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for name in ("lane", "state", "accepted/s", "delivered/s", "waiting", "empty in"):
        table.add_column(name, justify="left" if name in {"lane", "state"} else "right", no_wrap=True)
    for row in rates.lanes:
        empty_in = "never" if row.empty_in is None else rounded_duration(round(row.empty_in))
        table.add_row(
            escape(row.lane.name),
            row.lane.state,
            f"{row.accepted:,.1f}",
            f"{row.delivered:,.1f}",
            f"{row.lane.pending_events:,}",
            empty_in if row.lane.pending_events else "",
        )
    console = Console(highlight=False, soft_wrap=True, width=10_000)
    spool = status.spool
    with console.capture() as captured:
        console.print(
            f"{'healthy' if status.healthy else 'NOT HEALTHY'}"
            f"  up {rounded_duration(round(status.uptime or 0))}"
            f"  in {rates.requests:,.1f} requests/s, {rates.events:,.1f} events/s"
            f"  spool {rounded_size(spool.used_bytes)} of {rounded_size(spool.max_bytes)}"
            f" ({spool.used_bytes / max(1, spool.max_bytes):.0%})"
        )
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
