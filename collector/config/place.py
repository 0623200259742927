"""Where the daemon of a configuration is asked, told from its files alone: no model and no checks.

A command that only asks must start at once, and what it needs of a configuration is where the
admin sockets are. `load` takes longer than all the rest of such a command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.config.addresses import Address, parse_bind
from collector.config.paths import admin_socket_path, config_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_OVERRIDES = "WAYSTATION_ADMIN__"


@dataclass(frozen=True, slots=True)
class AdminPlace:
    """What `Config.admin` says of it."""

    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """As much of a `Config` as says where its daemon is asked."""

    admin: AdminPlace


def find_place(path: Path | None, environ: Mapping[str, str]) -> Place | None:
    """The place that the whole configuration would say; None where only that one can say it.

    Args:
        path: what `--config` says, if anything.
        environ: of the process.

    Raises:
        ConfigError: a file of the configuration cannot be read, or is no TOML.
    """
    if any(name.startswith(_OVERRIDES) and text for name, text in environ.items()):
        return None
    file = config_file(environ, path)
    tree: dict[str, object] = {}
    if file is not None:
        from collector.config.reading import read_all  # noqa: PLC0415 - where there is one

        tree = read_all(file).tree
    admin = tree.get("admin", {})
    binds: object = None
    if isinstance(admin, dict):
        binds = admin.get("bind", [f"unix:{admin_socket_path(environ)}"])
    if not isinstance(binds, list):
        return None
    try:
        return Place(AdminPlace(tuple(parse_bind(str(bind)) for bind in binds)))
    except ValueError:
        return None
