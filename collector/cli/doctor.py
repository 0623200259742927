"""`waystation doctor`."""

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
def doctor(config_path: Path | None, *, as_json: bool) -> None:
    """Check everything, and say what to do.

    One line a check: the ledger against the chunks, permissions, SQLite, space, the clock, secrets
    and keys, and whether upstreams can be reached (a connection, nothing is sent). Exits with 0,
    or 1 when any check fails.
    """
    from functools import partial  # noqa: PLC0415 - other commands must not pay for these

    import msgspec  # noqa: PLC0415

    from collector.admin.doctor import examine  # noqa: PLC0415
    from collector.cli.progress import bar  # noqa: PLC0415
    from collector.config.load import load  # noqa: PLC0415

    environ = dict(os.environ)
    config = load(config_path, environ, read_secrets=False)
    checks = []
    for check in examine(config, environ, watch=partial(bar, "verifying chunks")):
        checks.append(check)
        if not as_json:
            click.echo(str(check))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(checks), indent=2))
    if any(check.result == "fail" for check in checks):
        sys.exit(1)
