"""The status of the running daemon, or of the spool where none runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from collector.errors import DaemonUnavailable, WaystationError

if TYPE_CHECKING:
    from collector.admin.status import Status
    from collector.config.model import Config

ASK_SECONDS = 10.0
"""How long the daemon may take to answer."""


def current_status(config: Config) -> Status:
    """Ask the daemon; where none answers, read the spool itself.

    Raises:
        DaemonUnavailable: what answers is no daemon of this release.
        WaystationError: there is neither a daemon nor a spool.
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
