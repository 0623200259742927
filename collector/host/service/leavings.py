"""What an installation leaves behind when it is removed, and what `--purge` takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from collector.config.addresses import UnixAddress
from collector.host.service.steps import Remains, Remove, RemoveOwn
from collector.spool.directory import BALLAST_FILE, DATABASE_FILE, LOCK_FILE

if TYPE_CHECKING:
    from collector.host.service.sites import Wish
    from collector.host.service.steps import Step

_OWN = (f"{DATABASE_FILE}*", LOCK_FILE, BALLAST_FILE, "events", "admin.token", "run", "*.sock")
"""What a daemon makes in its state directory, which may be one that holds other things too: on macOS
a user's configuration, and anything where `state_dir` was set."""

_PURGE = "uninstall --purge removes them"


def purged(wish: Wish) -> tuple[Step, ...]:
    """Removes the spool, and for the machine's service its configuration."""
    own = RemoveOwn(_place(wish, wish.config.state_dir), _OWN)
    return (own, Remove(_place(wish, wish.config_directory))) if wish.scope == "system" else (own,)


def leavings(wish: Wish, *, purge: bool, logs: Path | None = None) -> tuple[Remains, ...]:
    """What may be there at the end.

    Args:
        wish: what was removed.
        purge: whether its spool was removed with it.
        logs: the directory of its logs, where they are files.
    """
    state = _place(wish, wish.config.state_dir)
    found = [Remains(state, "other files are") if purge else Remains(state, "the events are", _PURGE)]
    if wish.config_path is not None:
        found.append(Remains(wish.config_path, "the configuration is"))
    directory = _place(wish, wish.config_directory)
    own = (directory / "config.toml", directory / "conf.d") if directory == state else (directory,)
    found += [Remains(path, "the configuration is") for path in own]
    if logs is not None:
        found.append(Remains(logs, "the logs are", _PURGE))
    found += [
        Remains(_place(wish, upstream.directory), f"what was written for upstream {upstream.name} is")
        for upstream in wish.config.upstream
        if upstream.directory is not None
    ]
    found += [
        Remains(path, "the sockets' directory is")
        for path in _socket_directories(wish)
        if path != state and state not in path.parents
    ]
    return tuple(found)


def sockets_gone(wish: Wish) -> tuple[Step, ...]:
    """Removes the sockets that nobody listens on any more, with directories that are there for them alone."""
    state = _place(wish, wish.config.state_dir)
    beside = tuple(Remove(path) for path in _sockets(wish) if path.parent == state)
    own = tuple(
        RemoveOwn(directory, tuple(sorted(path.name for path in _sockets(wish) if path.parent == directory)))
        for directory in _socket_directories(wish)
        if directory != state and (directory.name == "waystation" or directory == state / "run")
    )
    return (*beside, *own)


def _socket_directories(wish: Wish) -> list[Path]:
    return sorted({path.parent for path in _sockets(wish)})


def _sockets(wish: Wish) -> list[Path]:
    addresses = [*(listener.address for listener in wish.config.listener), *wish.config.admin.addresses]
    return [_place(wish, address.path) for address in addresses if isinstance(address, UnixAddress)]


def _place(wish: Wish, path: str | Path) -> Path:
    """A path of the machine; a user's is as it is."""
    return wish.below_root(str(path)) if wish.scope == "system" else Path(path)
