"""What `waystation status` tells a newcomer to do next; nothing, once events go somewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from collector.config import paths
from collector.errors import WaystationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collector.config.model import Config


def next_step(directories: Sequence[str | None], file: Path | None, environ: Mapping[str, str]) -> str:
    """One line, or an empty one.

    Args:
        directories: of each upstream that writes files; None for each other one.
        file: where the configuration is from; None for none.
        environ: of the process.
    """
    if None in directories:
        return ""
    place = file or paths.default_config_file(environ)
    restart = "systemctl restart waystation" if file == paths.SYSTEM_CONFIG else "restart the daemon"
    directory = directories[0] if directories else ""
    return (
        f"next: add an upstream to {place} (until then events go to files in {directory}),"
        f" check it with `waystation config check`, then {restart}"
    )


def refuse_foreign(config: Config) -> None:
    """Say whose spool it is, where this user may not look.

    Raises:
        WaystationError: with what to type.
    """
    directory = Path(config.state_dir)
    try:
        is_there = directory.is_dir()
    except OSError:
        return  # what reads the spool tells why
    if is_there and not os.access(directory, os.R_OK | os.X_OK):
        raise WaystationError(f"{directory} is another user's: try `sudo waystation status`")
