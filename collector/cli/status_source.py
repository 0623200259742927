"""The status of the running daemon, or of the spool where none runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from collector.errors import ConfigError, DaemonUnavailable, WaystationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.admin.status import Status
    from collector.cli.admin_socket import Reachable
    from collector.config.model import Config


@dataclass(frozen=True, slots=True)
class Sight:
    """What was found.

    Attributes:
        place: where a daemon is asked again.
        directories: of each upstream that writes files, None for each other one; None in all where the
            configuration cannot be used.
    """

    status: Status
    place: Reachable
    directories: tuple[str | None, ...] | None


def find(config_path: Path | None, environ: Mapping[str, str]) -> Sight:
    """The status, with the least that has to be loaded for it.

    A daemon that goes on with what is in its files is asked without loading the configuration.

    Raises:
        ConfigError: the configuration cannot be used, and no daemon answers.
        WaystationError: there is neither a daemon nor a spool.
    """
    from collector.config.place import find_place  # noqa: PLC0415 - other commands must not pay for it

    place = find_place(config_path, environ)
    if place is not None:
        found = _ask(place)
        # What was refused of a reload is in the files, and told with all its reasons.
        if found is not None and not found.reload_refused:
            return Sight(found, place, tuple(upstream.directory for upstream in found.upstreams))
    config, usable = reach(config_path, environ)
    directories = tuple(upstream.directory for upstream in config.upstream) if usable else None
    return Sight(current_status(config), config, directories)


def current_status(config: Config) -> Status:
    """Ask the daemon; where none answers, read the spool itself.

    Raises:
        DaemonUnavailable: what answers is no daemon of this release.
        WaystationError: there is neither a daemon nor a spool.
    """
    return _ask(config) or _offline(config)


def reach(config_path: Path | None, environ: Mapping[str, str]) -> tuple[Config, bool]:
    """The configuration, to ask a daemon by.

    Where it cannot be used but a daemon runs, as behind a reload that was refused, that is told on
    standard error: whoever asks wants to know how it goes all the same.

    Args:
        config_path: as given.
        environ: of the process.

    Returns:
        Also whether it can be used; else it is what says where the daemon is, and no more.

    Raises:
        ConfigError: it cannot be used, and no daemon answers.
    """
    from collector.config.load import load, load_place  # noqa: PLC0415 - other commands must not pay for these

    try:
        return load(config_path, environ, read_secrets=False), True
    except ConfigError as error:
        import click  # noqa: PLC0415

        from collector.cli.admin_socket import GLANCE_SECONDS, exchange  # noqa: PLC0415

        place = load_place(config_path, environ)
        try:
            exchange(place, "/livez", timeout=GLANCE_SECONDS)
        except DaemonUnavailable:
            raise error from None
        for line in str(error).splitlines():
            click.echo(f"waystation: {line}", err=True)
        click.echo("waystation: the daemon goes on with the configuration that it has", err=True)
        return place, False


def _ask(place: Reachable) -> Status | None:
    """The running daemon's status; None where no daemon answers."""
    import msgspec  # noqa: PLC0415

    from collector.admin.status import Status  # noqa: PLC0415
    from collector.cli.admin_socket import GLANCE_SECONDS, exchange, stranger  # noqa: PLC0415

    try:
        reply = exchange(place, "/v1/status", timeout=GLANCE_SECONDS)
    except DaemonUnavailable:
        return None
    try:
        return msgspec.json.decode(reply.body, type=Status)
    except msgspec.DecodeError:
        raise stranger(reply) from None


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
