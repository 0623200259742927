"""The running daemon's admin socket: where a command asks for what only a daemon knows or may do."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from collector.cli.http_post import Target, get, post, stream
from collector.config.addresses import Address, UnixAddress
from collector.errors import DaemonUnavailable, WaystationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from collector.admin.status import Status
    from collector.cli.http_post import Reply

T = TypeVar("T")

ASK_SECONDS = 60.0
"""How long the daemon may take to answer: a replay of everything is many commits."""

GLANCE_SECONDS = 10.0
"""The same of what it answers at once, where the command goes on without an answer or is waited for."""


class _Addressed(Protocol):
    @property
    def addresses(self) -> tuple[Address, ...]: ...


class Reachable(Protocol):
    """What says where a daemon is asked: a `Config`, or no more of it than that."""

    @property
    def admin(self) -> _Addressed:
        """Where operators ask."""
        ...


class _Error(msgspec.Struct):
    message: str = ""


def exchange(
    config: Reachable, path: str, *, body: bytes | None = None, timeout: float = ASK_SECONDS
) -> Reply:
    """GET, or POST where there is a body; the answer, whatever it is.

    Args:
        config: says where the daemon is.
        path: with its query.
        body: JSON, or empty.
        timeout: seconds, of each step: the connection, a write, a read.

    Raises:
        DaemonUnavailable: none answers; the text is why the last socket gave no answer.
    """

    def attempt(target: Target) -> Reply:
        if body is None:
            reply = get(target, timeout=timeout)
        else:
            reply = post(target, body, {"Content-Type": "application/json"}, timeout=timeout)
        return replace(reply, place=target.name)

    return _first(config, path, attempt)


def ask(config: Reachable, path: str, *, body: bytes | None = None) -> Reply:
    """Exchange with a daemon that a command cannot do without.

    Raises:
        DaemonUnavailable: none answers; the text says what to do.
    """
    _expect(config)
    return exchange(config, path, body=body)


def watch(config: Reachable, path: str, *, timeout: float) -> Generator[bytes]:
    """The lines of an answer without an end.

    Args:
        config: says where the daemon is.
        path: with its query.
        timeout: seconds between two lines, after which the daemon counts as gone.

    Raises:
        DaemonUnavailable: none answers, or it went away.
        WaystationError: it refuses.
    """
    _expect(config)
    begun = _first(config, path, lambda target: stream(target, timeout=timeout))
    if not isinstance(begun, tuple):
        raise WaystationError(reason(begun))
    yield from begun[1]


def daemon_status(config: Reachable) -> Status:
    """The running daemon's status.

    Raises:
        DaemonUnavailable: none answers, or what does is no daemon of this release.
    """
    from collector.admin.status import Status  # noqa: PLC0415 - other commands must not pay for it

    reply = ask(config, "/v1/status")
    try:
        return msgspec.json.decode(reply.body, type=Status)
    except msgspec.DecodeError:
        raise DaemonUnavailable(reason(reply)) from None


def told(reply: Reply) -> str:
    """What the daemon says of a refusal, in its own words; empty where it says nothing that can be read."""
    try:
        return msgspec.json.decode(reply.body, type=_Error).message
    except ValueError:
        return ""


def reason(reply: Reply) -> str:
    """Why a request was refused."""
    return told(reply) or f"the daemon answered {reply.status}"


def stranger(reply: Reply) -> DaemonUnavailable:
    """The error where an answer cannot be one of this release."""
    return DaemonUnavailable(
        f"what answers at {reply.place} (http {reply.status}) is no daemon of this release"
    )


def _first(config: Reachable, path: str, attempt: Callable[[Target], T]) -> T:
    """What comes of the first socket at which somebody answers."""
    silence = "there is no admin socket"
    for place in _sockets(config):
        if not os.path.lexists(place):
            continue
        try:
            return attempt(Target(name=place, unix_path=place, path=path))
        except DaemonUnavailable as error:
            silence = str(error)
    raise DaemonUnavailable(silence)


def _sockets(config: Reachable) -> list[str]:
    return [address.path for address in config.admin.addresses if isinstance(address, UnixAddress)]


def _expect(config: Reachable) -> None:
    """Say which socket is missing, where all are.

    Raises:
        DaemonUnavailable: with what to do.
    """
    places = _sockets(config)
    if not any(os.path.lexists(place) for place in places):
        where = " or ".join(places) or "admin.bind, which names no UNIX socket"
        raise DaemonUnavailable(f"no daemon answers: there is no {where}; start it with `waystation run`")
