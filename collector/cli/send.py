"""`waystation send`: hands events over, from a script or by hand.

It starts once an event in many scripts, so it imports little: no configuration model, no
HTTP library, no event loop.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from collector import __version__
from collector.cli.event_input import Post, posts
from collector.cli.find_daemon import find_target
from collector.cli.http_post import Reply, post
from collector.cli.options import config_option
from collector.errors import DaemonUnavailable, EventsRefused, SecretError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

_PRODUCT_KEY = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SUCCESS = range(200, 300)
_MAX_TOLD = 20
"""Refused events that are told one by one."""

_MAX_EXCERPT = 200
"""Characters of an answer that is not ours."""

_MAX_TIMEOUT = 3600.0
"""Seconds; sockets take no number however large."""


def _bounded(_context: click.Context, _option: click.Parameter, seconds: float) -> float:
    # Written so that nan, which is not above anything, is refused too.
    if not 0 < seconds <= _MAX_TIMEOUT:
        raise click.BadParameter(f"{seconds} is not above 0 and at most {_MAX_TIMEOUT:.0f} seconds.")
    return seconds


@click.command
@click.argument("file", default="-", metavar="[FILE|-]")
@click.option(
    "--socket",
    "socket_path",
    metavar="PATH",
    help="UNIX socket of the daemon. [default: $WAYSTATION_SOCKET, the configuration's, the platform's]",
)
@click.option("--url", metavar="URL", help="Post to http://HOST:PORT instead.")
@click.option("--product", metavar="KEY", help="Send Traintracks events of this product, not Samsara events.")
@click.option("--secret-file", metavar="FILE", help="File with the product's secret, to sign with.")
@click.option(
    "--timeout",
    type=float,
    metavar="SECONDS",
    callback=_bounded,
    default=30.0,
    show_default=True,
    help="How long to wait for the daemon.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing of what was accepted.")
@config_option
def send(
    file: str,
    socket_path: str | None,
    url: str | None,
    product: str | None,
    secret_file: str | None,
    timeout: float,
    quiet: bool,
    config_path: Path | None,
) -> None:
    """Hand events over to the daemon.

    FILE, or standard input, holds one JSON event, an array of events, or one event a
    line. An array is accepted as a whole or not at all; lines are sent by the thousand.

    Leaves with 0 when all is accepted and on disk, 1 when the daemon refuses, 64 when the
    input cannot be used, 69 when no daemon answers.
    """
    if url is not None and socket_path is not None:
        raise UsageError("--url and --socket exclude each other")
    headers = Headers(product, _read_secret(secret_file, product), now_ms=lambda: time.time_ns() // 1_000_000)
    target = find_target(url=url, socket_path=socket_path, config_path=config_path, environ=os.environ)
    accepted = 0
    try:
        with _opened(file) as source:
            for request in posts(source):
                reply = post(target, request.body, headers.of(request.body), timeout=timeout)
                _judge(reply, request)
                accepted += request.events
    except (UsageError, EventsRefused, DaemonUnavailable) as error:
        if accepted:
            raise type(error)(f"{error}\nthe first {accepted} events were accepted") from None
        raise
    if not quiet:
        click.echo(f"{accepted} {'event' if accepted == 1 else 'events'} accepted")


class Headers:
    """What each request says beside its body.

    Args:
        product: the Traintracks product's key, None for Samsara events.
        secret: the product's, None to send unsigned.
        now_ms: wall time, ms since 1970.

    Raises:
        UsageError: the key cannot stand in a header.
    """

    def __init__(self, product: str | None, secret: bytes | None, *, now_ms: Callable[[], int]) -> None:
        if product is not None and not _PRODUCT_KEY.fullmatch(product):
            raise UsageError("a product key is 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'")
        self._product = product
        self._secret = secret
        self._now_ms = now_ms

    def of(self, body: bytes) -> dict[str, str]:
        """The headers of a request with this body, sent now."""
        headers = {"Content-Type": "application/json", "User-Agent": f"waystation-send/{__version__}"}
        if self._product is None:
            headers["X-Samsara-publishedTimestamp"] = str(self._now_ms())
            return headers
        headers["X-Product-Key"] = self._product
        if self._secret is not None:
            from collector.core.signing import traintracks_auth  # noqa: PLC0415 - for signers alone

            headers["X-Product-Auth"] = traintracks_auth(body, self._secret)
        return headers


def _read_secret(secret_file: str | None, product: str | None) -> bytes | None:
    if secret_file is None:
        return None
    if product is None:
        raise UsageError("--secret-file is for Traintracks events: give --product too")
    from pathlib import Path  # noqa: PLC0415 - for signers alone

    from collector.config.secret import read_secret_file  # noqa: PLC0415

    try:
        return read_secret_file(Path(secret_file), os.environ)
    except SecretError as error:
        raise UsageError(f"--secret-file: {error}") from None


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        if sys.stdin is None:  # closed by whoever started this
            raise UsageError("standard input is closed; name a file")
        if sys.stdin.isatty():
            click.echo("reading events from the terminal; Ctrl-D ends them", err=True)
        yield sys.stdin.buffer
        return
    try:
        source = open(file, "rb")  # noqa: PTH123, SIM115 - pathlib is slow to import
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{file}: {reason}") from None
    with source:
        yield source


def _judge(reply: Reply, request: Post) -> None:
    """Tell what the daemon warns of.

    Raises:
        EventsRefused: it did not take the events; the text is its own.
    """
    told = _json(reply.body)
    if reply.status not in _SUCCESS:
        raise EventsRefused(f"refused ({reply.status}): {_reason(told, reply, request)}")
    warnings = told.get("warnings", told.get("warning")) if isinstance(told, dict) else None
    if warnings:
        text = json.dumps(warnings, ensure_ascii=False)
        click.echo(f"waystation: accepted with warnings: {text}", err=True)


def _reason(told: object, reply: Reply, request: Post) -> str:
    if isinstance(told, list):
        verdicts = list(enumerate(str(verdict) for verdict in told))
        faults = [f"{_place(index, request)}: {verdict}" for index, verdict in verdicts if verdict != "OK"]
        more = [f"and {len(faults) - _MAX_TOLD} more"] if len(faults) > _MAX_TOLD else []
        return "\n".join([f"{len(faults)} of {request.events} events", *faults[:_MAX_TOLD], *more])
    message = told.get("message") if isinstance(told, dict) else None
    if isinstance(message, str):
        return message
    return " ".join(reply.body.decode(errors="replace").split())[:_MAX_EXCERPT] or "no reason given"


def _place(index: int, request: Post) -> str:
    return f"line {request.lines[index]}" if index < len(request.lines) else f"event {index + 1}"


def _json(body: bytes) -> object:
    try:
        told: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return told
