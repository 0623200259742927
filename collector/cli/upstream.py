"""`waystation upstream list | pause | resume | flush | test | bury | forget`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from collector.cli.options import config_option
from collector.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from collector.cli.upstream_desk import Desk


@click.group()
def upstream() -> None:
    """See and steer upstreams, through the running daemon."""


@upstream.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
@config_option
def list_upstreams(config_path: Path | None, *, as_json: bool) -> None:
    """List them, with what waits and why."""
    import msgspec  # noqa: PLC0415 - other commands must not pay for it

    for state in _desk(config_path).states():
        if as_json:
            click.echo(msgspec.json.encode(state))
            continue
        condition = "paused" if state.paused else "waiting" if state.waiting else "going"
        if not state.configured:
            condition = "orphaned"
        click.echo(f"{state.name}  {condition}  {state.pending_events:,} events")
        for lane, reason in state.stuck.items():
            click.echo(f"  {lane}: {reason}")


@upstream.command()
@click.argument("name")
@config_option
def pause(config_path: Path | None, name: str) -> None:
    """Attempt nothing more to NAME until it is resumed, restarts included.

    What is under way ends. Events are accepted and kept meanwhile.
    """
    _desk(config_path).command(name, "pause")
    click.echo(f"{name} is paused; `waystation upstream resume {name}` lets it go on")


@upstream.command()
@click.argument("name")
@config_option
def resume(config_path: Path | None, name: str) -> None:
    """Let NAME go on, at once."""
    _desk(config_path).command(name, "resume")
    click.echo(f"{name} goes on")


@upstream.command()
@click.argument("name")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0, 3600),
    default=30.0,
    show_default=True,
    help="Seconds to wait until everything is delivered; 0 for not at all.",
)
@config_option
def flush(config_path: Path | None, name: str, wait_seconds: float) -> None:
    """Send what NAME has at once: nothing lingers, nothing waits for its next attempt.

    Exits with 1 where events still wait in the end.
    """
    desk = _desk(config_path)
    desk.command(name, "flush")
    state = desk.drained(name, wait_seconds)
    if not state.pending_events:
        click.echo(f"{name} has delivered everything")
        return
    click.echo(f"{state.pending_events:,} events still wait for {name}")
    for lane, reason in state.stuck.items():
        click.echo(f"  {lane}: {reason}")
    if wait_seconds:
        sys.exit(1)


@upstream.command()
@click.argument("name")
@config_option
def test(config_path: Path | None, name: str) -> None:
    """Send NAME one signed batch of no events, and explain the answer.

    Where NAME writes files, it is tried whether it can. Nothing is changed, not even a pause. Exits with 1
    where events would not be delivered.
    """
    trials = _desk(config_path).trials(name)
    for trial in trials:
        product = f" product {trial.product}" if trial.product else ""
        click.echo(f"{name}{product}: {trial.verdict}: {trial.reason} ({trial.seconds:.3f} s)")
        click.echo(f"  {trial.meaning}")
    if any(trial.verdict != "delivered" for trial in trials):
        sys.exit(1)


@upstream.command()
@click.argument("name")
@config_option
def bury(config_path: Path | None, name: str) -> None:
    """Dead-letter the events that hold lanes of NAME up, answered 500 for ever.

    `waystation status` names them. What is behind them goes on. Exits with 1 where there is none.
    """
    buried = _desk(config_path).bury(name)
    for lane, position in buried.items():
        click.echo(f"{lane}: position {position} becomes a dead letter")
    if not buried:
        click.echo(f"no event holds a lane of {name} up")
        sys.exit(1)


@upstream.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def forget(config_path: Path | None, name: str, *, yes: bool) -> None:
    """Give up the events that wait for NAME, which is no longer configured.

    The ledger counts them as evicted. Its dead letters stay.
    """
    desk = _desk(config_path)
    if not yes:
        waiting = desk.state(name).pending_events
        if not sys.stdin.isatty():
            raise UsageError("there is nobody to ask; give --yes")
        click.confirm(f"Give up {waiting:,} events that wait for {name}?", abort=True)
    click.echo(f"{desk.forget(name):,} events evicted")


def _desk(config_path: Path | None) -> Desk:
    from collector.cli.status_source import reach  # noqa: PLC0415
    from collector.cli.upstream_desk import Desk  # noqa: PLC0415

    config, _ = reach(config_path, os.environ)
    return Desk(config)
