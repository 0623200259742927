"""The running daemon's admin socket, for commands that cannot do without the daemon."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from collector.admin.status import Status
from collector.cli.http_post import Target, get, post, stream
from collector.config.model import UnixAddress
from collector.errors import DaemonUnavailable, WaystationError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from collector.cli.http_post import Reply
    from collector.config.model import Config

ASK_SECONDS = 60.0
"""How long the daemon may take to answer."""


class _Error(msgspec.Struct):
    message: str = ""


def ask(config: Config, path: str, *, body: bytes | None = None) -> Reply:
    """GET, or POST where there is a body.

    Raises:
        DaemonUnavailable: none answers.
    """
    silence = ""
    for target in _targets(config, path):
        try:
            if body is None:
                return get(target, timeout=ASK_SECONDS)
            return post(target, body, {"Content-Type": "application/json"}, timeout=ASK_SECONDS)
        except DaemonUnavailable as error:
            silence = str(error)
    raise _silent(config, silence)


def watch(config: Config, path: str, *, timeout: float) -> Generator[bytes]:
    """The lines of an answer without an end.

    Args:
        config: says where the daemon is.
        path: with its query.
        timeout: seconds between two lines, after which the daemon counts as gone.

    Raises:
        DaemonUnavailable: none answers, or it went away.
        WaystationError: it refuses.
    """
    silence = ""
    for target in _targets(config, path):
        try:
            begun = stream(target, timeout=timeout)
        except DaemonUnavailable as error:
            silence = str(error)
            continue
        if not isinstance(begun, tuple):
            raise WaystationError(reason(begun))
        yield from begun[1]
        return
    raise _silent(config, silence)


def daemon_status(config: Config) -> Status:
    """The running daemon's status.

    Raises:
        DaemonUnavailable: none answers, or what does is no daemon of this release.
    """
    reply = ask(config, "/v1/status")
    try:
        return msgspec.json.decode(reply.body, type=Status)
    except msgspec.DecodeError:
        raise DaemonUnavailable(reason(reply)) from None


def reason(reply: Reply) -> str:
    """Why a request was refused, in the daemon's own words."""
    try:
        told = msgspec.json.decode(reply.body, type=_Error).message
    except ValueError:
        told = ""
    return told or f"the daemon answered {reply.status}"


def _targets(config: Config, path: str) -> Iterator[Target]:
    for address in config.admin.addresses:
        if isinstance(address, UnixAddress) and os.path.lexists(address.path):
            yield Target(name=address.path, unix_path=address.path, path=path)


def _silent(config: Config, silence: str) -> DaemonUnavailable:
    sockets = [address.path for address in config.admin.addresses if isinstance(address, UnixAddress)]
    where = " or ".join(sockets) or "admin.bind, which names no UNIX socket"
    return DaemonUnavailable(
        silence or f"no daemon answers: there is no {where}; start it with `waystation run`"
    )
