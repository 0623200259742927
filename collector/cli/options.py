"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file. [default: $WAYSTATION_CONFIG, the user's, then /etc/waystation/config.toml]",
)
"""`--config FILE`, handed to the command as `config_path: Path | None`."""
