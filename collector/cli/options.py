"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

config_option = click.option(
    "--config",
    "config_path",
    # Not looked at here: a file that cannot be read is a wrong configuration (78), not wrong usage.
    type=click.Path(readable=False, path_type=Path),
    metavar="FILE",
    help="Configuration file. [default: $WAYSTATION_CONFIG, the user's, then /etc/waystation/config.toml]",
)
"""`--config FILE`, handed to the command as `config_path: Path | None`."""


def complete_lane(context: click.Context, _option: click.Parameter, typed: str) -> list[CompletionItem[str]]:
    """The lanes whose names begin with what was typed; none where they cannot be found out."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - for completion alone

    from collector.cli.status_source import current_status  # noqa: PLC0415
    from collector.config.load import load  # noqa: PLC0415
    from collector.errors import WaystationError  # noqa: PLC0415

    named: object = context.params.get("config_path")
    try:
        config = load(named if isinstance(named, Path) else None, dict(os.environ), read_secrets=False)
        lanes = current_status(config).lanes
    except WaystationError:
        return []
    return [CompletionItem(lane.name, help=lane.state) for lane in lanes if lane.name.startswith(typed)]
