"""`waystation tail`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from collector.cli.options import complete_lane, config_option
from collector.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from collector.admin.tail import Line
    from collector.config.model import Config

PATIENCE_SECONDS = 60.0
"""The daemon says every 15 seconds that it is still there."""


@click.command()
@config_option
@click.option("--accepted", "what", flag_value="accepted", help="What apps hand over, and nothing else.")
@click.option(
    "--delivered", "what", flag_value="delivered", help="What upstreams have taken, and nothing else."
)
@click.option("--lane", metavar="LANE", shell_complete=complete_lane, help="Delivered by this lane.")
@click.option("--dialect", type=click.Choice(["samsara", "traintracks"]), help="Of this dialect.")
@click.option("--product", metavar="KEY", help="Of this Traintracks product.")
@click.option("--match", metavar="TEXT", help="Whose JSON holds this text, letter for letter.")
@click.option("-n", "--count", type=click.IntRange(1), help="End after so many. [default: go on]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
def tail(
    config_path: Path | None,
    *,
    what: str | None,
    lane: str | None,
    dialect: str | None,
    product: str | None,
    match: str | None,
    count: int | None,
    as_json: bool,
) -> None:
    """Show events as they are accepted and delivered, with what is in them.

    Asks the running daemon over its admin socket, so that only its user and root may. Whoever reads
    more slowly than events come misses some, and is told how many; nothing ever waits for this.
    """
    from contextlib import closing  # noqa: PLC0415 - other commands must not pay for these
    from urllib.parse import urlencode  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from collector.admin.tail import PATH, Line, Missed  # noqa: PLC0415
    from collector.cli.admin_socket import watch  # noqa: PLC0415
    from collector.cli.status_source import reach  # noqa: PLC0415

    if lane is not None and what == "accepted":
        raise UsageError("--accepted --lane: an event is accepted for all lanes; use --dialect and --product")
    config, _ = reach(config_path, os.environ)
    if lane is not None:
        _tell_unknown(config, lane)
    asked = {"what": what, "lane": lane, "dialect": dialect, "product": product, "match": match}
    query = urlencode({name: value for name, value in asked.items() if value})
    left = count
    with closing(watch(config, f"{PATH}?{query}" if query else PATH, timeout=PATIENCE_SECONDS)) as lines:
        for line in lines:
            if line == b"\n":
                continue
            missed = line.startswith(b'{"missed":')
            if as_json:
                click.echo(line, nl=False)
            elif missed:
                number = msgspec.json.decode(line, type=Missed).missed
                click.echo(f"... {number:,} events were not shown: they came too fast")
            else:
                click.echo(readable(msgspec.json.decode(line, type=Line)))
            if not missed and left is not None:
                left -= 1
                if left == 0:
                    return
    click.echo("the daemon has stopped", err=True)


def _tell_unknown(config: Config, lane: str) -> None:
    """Say so where there is no such lane: it may come with its first event, or be misspelt."""
    from collector.cli.admin_socket import daemon_status  # noqa: PLC0415

    names = [known.name for known in daemon_status(config).lanes]
    if lane not in names:
        known = f"the lanes are {', '.join(names)}" if names else "there is none"
        click.echo(f"waystation: there is no lane {lane} so far; {known}", err=True)


def readable(line: Line) -> str:
    """A line for people; nothing in it can steer a terminal."""
    import datetime as dt  # noqa: PLC0415

    moment = dt.datetime.fromtimestamp(line.at / 1000, tz=dt.UTC)
    stream = "/".join(filter(None, (line.dialect, line.product)))
    where = f"{line.lane} #{line.position}" if line.lane else stream
    event = bytes(line.event).decode()
    shown = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in event)
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}Z {line.what:<9} {where} {shown}"
