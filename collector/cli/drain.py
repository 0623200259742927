"""`waystation drain`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from collector.cli.options import config_option

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from collector.admin.status import Status
    from collector.cli.rates import Totals
    from collector.config.model import Config

POLL_SECONDS = 0.5
_CONFLICT = 409


@click.command()
@config_option
@click.option("--wait", is_flag=True, help="Wait until all that waits now went out, or --timeout is over.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 30 * 86_400),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait.",
)
def drain(config_path: Path | None, timeout: float, *, wait: bool) -> None:
    """Have the daemon send at once what waits.

    With --wait it exits with 0 when everything that waited at the start has been delivered, and with 1
    when some of it still waits, or ended otherwise. What is accepted meanwhile does not count.
    """
    from collector.cli.admin_socket import daemon_status  # noqa: PLC0415 - other commands must not pay
    from collector.cli.status_source import reach  # noqa: PLC0415

    config, _ = reach(config_path, os.environ)
    begun = daemon_status(config)
    for remark in _hurry(config, begun):
        click.echo(remark)
    progress = Progress(begun)
    if wait:
        from collector.cli.progress import bar  # noqa: PLC0415

        with bar("draining", progress.waiting) as advance:
            _wait(progress, lambda: daemon_status(config), advance, timeout=timeout)
    click.echo(progress.verdict(waited=wait))
    if wait and not progress.succeeded:
        raise click.exceptions.Exit(1)


class Progress:
    """How far the events that waited at the start have come.

    A lane delivers in order. So those that waited are gone when as many events as were accepted by then
    no longer wait.

    Args:
        begun: the status at the start.

    Attributes:
        waiting: how many waited at the start.
        left: how many of them wait still.
        lost: events that ended undelivered since.
    """

    def __init__(self, begun: Status) -> None:
        from collector.cli.rates import totals  # noqa: PLC0415

        self._begun = totals(begun)
        self._status = begun
        self.waiting = self.left = sum(lane.pending for lane in self._begun.values())
        self.lost = 0

    def look(self, status: Status) -> None:
        """Take a later status into account."""
        from collector.cli.rates import Totals, totals  # noqa: PLC0415

        now = totals(status)
        self._status = status
        self.left = sum(_left(before, now.get(name, Totals())) for name, before in self._begun.items())
        self.lost = sum(
            max(0, now.get(name, Totals()).lost - before.lost) for name, before in self._begun.items()
        )

    @property
    def succeeded(self) -> bool:
        """Whether all that waited has been delivered."""
        return not self.left and not self.lost

    def verdict(self, *, waited: bool) -> str:
        """What came of it, with the reason of each lane that still holds something."""
        if not self.waiting:
            return "nothing waits"
        if not waited:
            return f"{self.waiting:,} events wait; --wait waits until they went out"
        if self.succeeded:
            return f"all {self.waiting:,} events that waited have been delivered"
        lines = []
        if self.left:
            lines.append(f"{self.left:,} of {self.waiting:,} events still wait")
            lines += [
                f"  {lane.name}: {lane.state}{f': {lane.reason}' if lane.reason else ''}"
                for lane in self._status.lanes
                if lane.pending_events
            ]
        if self.lost:
            lines.append(f"{self.lost:,} events ended undelivered meanwhile; `waystation ledger` says how")
        return "\n".join(lines)


def _left(before: Totals, now: Totals) -> int:
    """How many of a lane's events that waited before wait still."""
    gone = (now.accepted - now.pending) - (before.accepted - before.pending)
    return min(before.pending, max(0, before.pending - gone))


def _wait(
    progress: Progress, status: Callable[[], Status], advance: Callable[[int], None], *, timeout: float
) -> None:
    deadline = time.monotonic() + timeout
    while progress.left and time.monotonic() < deadline:
        time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))
        before = progress.left
        progress.look(status())
        advance(before - progress.left)


def _hurry(config: Config, status: Status) -> list[str]:
    """Have every upstream try at once; returns what is to be said of those that do not."""
    from urllib.parse import quote  # noqa: PLC0415

    from collector.cli.admin_socket import ask, reason  # noqa: PLC0415

    remarks = []
    for upstream in status.upstreams:
        reply = ask(config, f"/v1/upstreams/{quote(upstream.name, safe='')}/flush", body=b"")
        if reply.status == _CONFLICT:
            remarks.append(reason(reply))
    return remarks
