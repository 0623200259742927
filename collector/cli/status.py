"""`waystation status`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from collector.cli.options import config_option
from collector.errors import DaemonUnavailable, WaystationError

if TYPE_CHECKING:
    from collector.admin.status import Status
    from collector.config.model import Config

ASK_SECONDS = 10.0
"""How long the daemon may take to answer."""


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
    from collector.config.load import load  # noqa: PLC0415
    from collector.config.paths import config_file  # noqa: PLC0415

    environ = dict(os.environ)
    config = load(config_path, environ, read_secrets=False)
    found = current(config)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        from collector.cli.status_table import show  # noqa: PLC0415

        show(found)
        if step := next_step(config, config_file(environ, config_path), environ):
            click.echo(step)
    if not found.healthy:
        sys.exit(1)


def current(config: Config) -> Status:
    """The running daemon's status, or where none runs the spool's own.

    Raises:
        WaystationError: there is neither.
    """
    return _ask(config) or _offline(config)


def _ask(config: Config) -> Status | None:
    """The running daemon's status; None where no daemon answers."""
    import msgspec  # noqa: PLC0415

    from collector.admin.status import Status  # noqa: PLC0415
    from collector.cli.http_post import Target, get  # noqa: PLC0415
    from collector.config.model import UnixAddress  # noqa: PLC0415

    for address in config.admin.addresses:
        if not isinstance(address, UnixAddress) or not os.path.lexists(address.path):
            continue
        try:
            reply = get(
                Target(name=address.path, unix_path=address.path, path="/v1/status"), timeout=ASK_SECONDS
            )
        except DaemonUnavailable:
            continue
        try:
            return msgspec.json.decode(reply.body, type=Status)
        except msgspec.DecodeError:
            raise DaemonUnavailable(
                f"what answers at {address.path} (http {reply.status}) is no daemon of this release"
            ) from None
    return None


def _offline(config: Config) -> Status:
    """What the spool says of itself while no daemon runs."""
    from collector.admin.offline import offline_status  # noqa: PLC0415
    from collector.cli.next_steps import refuse_foreign  # noqa: PLC0415

    refuse_foreign(config)
    found = offline_status(Path(config.state_dir), max_bytes=config.spool.max_bytes)
    if found is None:
        raise WaystationError(
            f"no daemon answers, and there is no spool in {config.state_dir}; start one with `waystation run`"
        )
    return found
