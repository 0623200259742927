"""`waystation status`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from collector.cli.live import count_option, interval_option, repeat
from collector.cli.options import config_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--watch", is_flag=True, help="Show it again and again, until interrupted.")
@interval_option
@count_option
def status(
    config_path: Path | None, interval: float, count: int | None, *, as_json: bool, watch: bool
) -> None:
    """Show listeners, lanes, backlog and the ledger.

    Asks the running daemon; where none runs, reads the spool itself. Exits with 0 when all is
    healthy and 1 when not.
    """
    import msgspec  # noqa: PLC0415 - other commands must not pay for these

    from collector.cli.next_steps import next_step  # noqa: PLC0415
    from collector.cli.status_source import find  # noqa: PLC0415
    from collector.config.paths import config_file  # noqa: PLC0415

    environ = dict(os.environ)
    sight = find(config_path, environ)
    found = sight.status
    if watch:
        from collector.cli.admin_socket import daemon_status  # noqa: PLC0415

        def frame() -> str:
            nonlocal found
            # Of the daemon alone: a spool would be copied for each look.
            found = daemon_status(sight.place)
            if as_json:
                return msgspec.json.encode(found).decode()
            from collector.cli.status_table import lines  # noqa: PLC0415

            return "\n".join(lines(found))

        repeat(frame, interval=interval, count=count)
    elif as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        from collector.cli.status_table import show  # noqa: PLC0415

        show(found)
        known = sight.directories
        step = "" if known is None else next_step(known, config_file(environ, config_path), environ)
        if step:
            click.echo(step)
    if not found.healthy:
        raise click.exceptions.Exit(1)
