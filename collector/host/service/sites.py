"""Where a service is installed: for the whole machine or for one user, on Linux or on macOS."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from collector.config.addresses import DEFAULT_PORT
from collector.config.paths import SYSTEM_HOME, SYSTEM_RUNTIME
from collector.host.service.steps import Write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from collector.config.model import Config
    from collector.host.service.steps import Plan


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Attributes:
        scope: for the machine, or for the user who asks.
        program: absolute path of the `waystation` to be run.
        config_path: what `--config` says, absolute; None where the daemon is to look itself.
        config: as the daemon will load it.
        config_directory: where it looks for its file when `config_path` is None.
        root: `/`, or what stands for it.
        home: of the user who asks.
        uid: of that user.
    """

    scope: Literal["system", "user"]
    program: Path
    config_path: Path | None
    config: Config
    config_directory: Path
    root: Path
    home: Path
    uid: int

    @property
    def command(self) -> tuple[str, ...]:
        """What the service manager runs."""
        given = () if self.config_path is None else ("--config", str(self.config_path))
        return (str(self.program), "run", *given)

    def below_root(self, path: str) -> Path:
        """An absolute path of the machine."""
        return self.root / path.lstrip("/")


class Manager(Protocol):
    """A service manager."""

    def install(self, wish: Wish) -> Plan:
        """Installed, started, and started again at each boot."""

    def uninstall(self, wish: Wish, *, purge: bool) -> Plan:
        """Stopped and gone; events and configuration stay but for `purge`."""

    def start(self, wish: Wish) -> Plan:
        """Started."""

    def stop(self, wish: Wish) -> Plan:
        """Stopped, until the next boot or `start`."""

    def status_command(self, wish: Wish) -> tuple[str, ...]:
        """Shows how the service is."""

    def logs_command(self, wish: Wish, *, lines: int, follow: bool) -> tuple[str, ...]:
        """Shows what it told."""


def environment(
    scope: Literal["system", "user"], environ: Mapping[str, str], *, platform: str = sys.platform
) -> dict[str, str]:
    """The environment in which the service will look for its configuration.

    Args:
        scope: of the service.
        environ: of this process.
        platform: `linux` or `darwin`.
    """
    # What this shell has set is not what the service will find.
    bare = {name: value for name, value in environ.items() if not name.startswith("WAYSTATION_")}
    if scope == "user":
        return bare
    family = "darwin" if platform == "darwin" else "linux"
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        bare.pop(name, None)
    home = str(SYSTEM_HOME[family])
    return {**bare, "HOME": home, "STATE_DIRECTORY": home, "RUNTIME_DIRECTORY": str(SYSTEM_RUNTIME[family])}


_CONFIGURATION = """\
# Waystation's configuration, as it runs without one. `waystation config check` tells what is wrong with it.
# After a change of a [[listener]]: `waystation service install`; else restart or reload the service.
# Every key: https://github.com/waystation/waystation/blob/main/docs/configuration.md

state_dir = "{home}"

[[listener]]
bind = "localhost:{port}"

[[listener]]
bind = "unix:{runtime}/waystation.sock"

[admin]
bind = ["unix:{runtime}/admin.sock"]

# Until there is an upstream, events go to files in {home}/events.
[[upstream]]
name = "file"
kind = "file"
"""


def configuration(wish: Wish, platform: Literal["linux", "darwin"]) -> tuple[Write, ...]:
    """A configuration for the machine's service that has none: it also tells commands where the daemon is."""
    if wish.config_path is not None:
        return ()
    text = _CONFIGURATION.format(
        home=SYSTEM_HOME[platform], runtime=SYSTEM_RUNTIME[platform], port=DEFAULT_PORT
    )
    return (Write(wish.below_root(str(wish.config_directory / "config.toml")), text.encode(), yours=True),)
