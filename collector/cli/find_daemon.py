"""Where the daemon of this machine listens, found without loading its configuration."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from collector.cli.http_post import Target
from collector.errors import DaemonUnavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def find_target(
    *, url: str | None, socket_path: str | None, config_path: Path | None, environ: Mapping[str, str]
) -> Target:
    """Find the daemon.

    In this order: what the command says; `$WAYSTATION_SOCKET`; the first UNIX socket of the
    configuration, or its first port where it has no socket; the socket that a daemon
    without configuration binds; the one of the packages.

    Args:
        url: as given, None where it was not.
        socket_path: likewise.
        config_path: likewise.
        environ: of the process.

    Raises:
        UsageError: the URL is not one that can be posted to.
        DaemonUnavailable: there is no socket at any of these places.
    """
    if url is not None:
        return _of_url(url)
    named = socket_path or environ.get("WAYSTATION_SOCKET", "")
    if named:
        return _of_socket(named)

    from collector.config import paths  # noqa: PLC0415 - not needed where a socket is named

    file = paths.config_file(environ, config_path)
    configured = None if file is None else _configured(file)
    if configured is not None:
        return configured
    places = [str(paths.socket_path(environ)), str(paths.SYSTEM_SOCKET)]
    for place in places:
        if os.path.exists(place):  # noqa: PTH110 - these are texts all the way
            return _of_socket(place)
    raise DaemonUnavailable(f"no daemon: there is no socket {' or '.join(places)} (is it running?)")


def _of_socket(path: str) -> Target:
    return Target(name=path, unix_path=path)


def _of_url(url: str) -> Target:
    from urllib.parse import urlsplit  # noqa: PLC0415 - for --url alone

    wanted = "expected --url http://HOST:PORT, the daemon's own"
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:
        raise UsageError(wanted) from None
    usable = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
    if parts.scheme != "http" or not parts.hostname or not usable:
        raise UsageError(wanted)
    path = parts.path if parts.path not in {"", "/"} else "/v1/events"
    query = f"?{parts.query}" if parts.query else ""
    return Target(name=f"{parts.hostname}:{port}", host=parts.hostname, port=port, path=path + query)


def _configured(file: Path) -> Target | None:
    """The listener that a configuration names, in its file or in `conf.d`; None where none can be read.

    Whoever sends may not be allowed to read it all, and what else is wrong with it is not
    this command's concern.
    """
    from collector.config.addresses import UnixAddress, parse_bind  # noqa: PLC0415 - where there is one
    from collector.config.reading import read_what_can_be  # noqa: PLC0415

    tree = read_what_can_be(file)
    listeners = tree.get("listener")
    binds = [
        str(listener.get("bind", ""))
        for listener in (listeners if isinstance(listeners, list) else ())
        if isinstance(listener, dict)
    ]
    for bind in sorted(binds, key=lambda bind: not bind.startswith("unix:")):
        try:
            address = parse_bind(bind)
        except ValueError:
            continue
        if isinstance(address, UnixAddress):
            return _of_socket(address.path)
        return Target(name=bind, host=address.hosts[0], port=address.port)
    return None
