"""`waystation status`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from collector.cli.options import config_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def status(config_path: Path | None, *, as_json: bool) -> None:
    """Show listeners, lanes, backlog and the ledger.

    Asks the running daemon; where none runs, reads the spool itself. Exits with 0 when all is
    healthy and 1 when not.
    """
    import msgspec  # noqa: PLC0415 - other commands must not pay for these

    from collector.cli.next_steps import next_step  # noqa: PLC0415
    from collector.cli.status_source import current_status  # noqa: PLC0415
    from collector.config.load import load  # noqa: PLC0415
    from collector.config.paths import config_file  # noqa: PLC0415

    environ = dict(os.environ)
    config = load(config_path, environ, read_secrets=False)
    found = current_status(config)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        from collector.cli.status_table import show  # noqa: PLC0415

        show(found)
        if step := next_step(config, config_file(environ, config_path), environ):
            click.echo(step)
    if not found.healthy:
        sys.exit(1)
