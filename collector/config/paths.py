"""Where things are when nothing says where: state, sockets, the configuration file.

Linux's answer (the XDG directories) is worked out here from the environment given;
platformdirs, asked elsewhere, would do the same but takes half of what a short command
may take to start.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

APP = "waystation"
SYSTEM_CONFIG = Path("/etc/waystation/config.toml")
SYSTEM_HOME = {
    "linux": Path("/var/lib/waystation"),
    "darwin": Path("/Library/Application Support/waystation"),
}
"""State of the machine's own daemon."""

SYSTEM_RUNTIME = {"linux": Path("/run/waystation"), "darwin": SYSTEM_HOME["darwin"] / "run"}
"""Its sockets."""

SYSTEM_SOCKET = SYSTEM_RUNTIME["darwin" if sys.platform == "darwin" else "linux"] / "waystation.sock"
"""Where the machine's daemon has the socket for apps, whoever asks."""


def state_dir(environ: Mapping[str, str]) -> Path:
    """The default state directory: the service manager's, else the user's.

    Args:
        environ: of the process; `$STATE_DIRECTORY` is systemd's.
    """
    given = _first_of(environ.get("STATE_DIRECTORY", ""))
    if given is not None:
        return given
    if sys.platform != "linux":
        import platformdirs  # noqa: PLC0415 - slow to import, and not needed on Linux

        return platformdirs.user_state_path(APP, appauthor=False)
    return _xdg(environ, "XDG_STATE_HOME", ".local/state") / APP


def socket_path(environ: Mapping[str, str]) -> Path:
    """The default UNIX socket for apps."""
    return _runtime_dir(environ) / "waystation.sock"


def admin_socket_path(environ: Mapping[str, str]) -> Path:
    """The default UNIX socket for operators."""
    return _runtime_dir(environ) / "admin.sock"


def config_file(environ: Mapping[str, str], given: Path | None = None) -> Path | None:
    """The configuration file that counts, None where there is none.

    Args:
        environ: of the process.
        given: what `--config` says, if anything.

    Returns:
        What is named by `--config` or else `$WAYSTATION_CONFIG`, whether it exists or
        not; else the first that exists of the user's and the system's.
    """
    if given is not None:
        return given
    named = environ.get("WAYSTATION_CONFIG", "")
    if named:
        return Path(named)
    users = default_config_file(environ)
    if _exists(users):
        return users
    try:
        SYSTEM_CONFIG.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        # It may be there, so that running without it could be wrong; reading it says why.
        return SYSTEM_CONFIG
    return SYSTEM_CONFIG


def default_config_file(environ: Mapping[str, str]) -> Path:
    """The user's own, whether it exists or not."""
    return _user_config_dir(environ) / "config.toml"


def _exists(path: Path) -> bool:
    """False too where the service manager hides the home directories."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def _runtime_dir(environ: Mapping[str, str]) -> Path:
    given = _first_of(environ.get("RUNTIME_DIRECTORY", ""))
    if given is not None:
        return given
    if sys.platform != "linux":
        # Not in ~/Library/Caches/TemporaryItems, which macOS empties: launchd makes no directories.
        return state_dir(environ) / "run"
    session = _absolute(environ.get("XDG_RUNTIME_DIR", "")) or Path(f"/run/user/{os.getuid()}")
    # Without a session there is no such directory. Names below /tmp can be taken by
    # anybody first, so the sockets go beside the spool instead.
    return session / APP if session.is_dir() else state_dir(environ)


def _user_config_dir(environ: Mapping[str, str]) -> Path:
    if sys.platform != "linux":
        import platformdirs  # noqa: PLC0415 - slow to import, and not needed on Linux

        return platformdirs.user_config_path(APP, appauthor=False)
    return _xdg(environ, "XDG_CONFIG_HOME", ".config") / APP


def _xdg(environ: Mapping[str, str], variable: str, below_home: str) -> Path:
    return _absolute(environ.get(variable, "")) or home(environ) / below_home


def home(environ: Mapping[str, str]) -> Path:
    """The user's home directory."""
    return _absolute(environ.get("HOME", "")) or Path.home()


def _absolute(text: str) -> Path | None:
    """The XDG rules have relative paths ignored."""
    return Path(text) if text.startswith("/") else None


def _first_of(text: str) -> Path | None:
    """The first of the directories that systemd lists, separated by colons."""
    return _absolute(text.split(":", 1)[0])
