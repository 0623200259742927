"""What can go wrong on a link, told without any secret."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import structlog

from collector.core.failure import Failure
from collector.core.reply import excerpt
from collector.forwarder.trust import tls_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collector.forwarder.link.body import Progress


_QUOTED = re.compile(r":? (?=\S*[\"'])")
"""What libraries quote is what the upstream sent, which may repeat what is in an event."""


class LinkFailure(Exception):
    """No whole answer came.

    Attributes:
        failure: what happened.
        detail: more about it, on one line, without any secret.
    """

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(f"{failure.value}: {detail}")
        self.failure = failure
        self.detail = detail


def failure_of(
    error: Exception,
    *,
    begun: bool,
    certified: bool,
    blanked: Callable[[bytes], bytes],
    wall: Callable[[], float],
) -> LinkFailure:
    """What kind of failure an error of httpx is, and how to tell it.

    Args:
        error: of a request.
        begun: whether any of its body may have left.
        certified: whether a client certificate is shown.
        blanked: takes the secrets out of a text.
        wall: wall time, in seconds since 1970.
    """
    told = _told(error, begun=begun, certified=certified, wall=wall)
    return LinkFailure(told[0], excerpt(blanked(told[1].encode())))


def _told(
    error: Exception, *, begun: bool, certified: bool, wall: Callable[[], float]
) -> tuple[Failure, str]:
    match error:
        case httpx.PoolTimeout():
            return Failure.BUSY, ""
        case httpx.TimeoutException():
            waited = {"ConnectTimeout": "connecting", "WriteTimeout": "sending"}
            during = waited.get(type(error).__name__, "waiting for the answer")
            return Failure.TIMEOUT, f"while {during}"
        case httpx.ProxyError():
            answer = excerpt(str(error).encode())
            refused = answer[:1] in {"3", "4"} or answer.startswith(("511", "Invalid username"))
            return Failure.PROXY_REFUSED if refused else Failure.PROXY, answer
        case httpx.NetworkError() | httpx.RemoteProtocolError() | OSError():
            return _broken(error, begun=begun, certified=certified, wall=wall)
        case httpx.LocalProtocolError() if begun:
            # HTTP/2: a stream that the upstream ended, while its batch was still being sent.
            return Failure.BROKEN, "the upstream stopped reading"
        case _:
            if not isinstance(error, httpx.HTTPError):
                structlog.get_logger().error("attempt_failed", exc_info=error)
            # Such texts may repeat a header's value.
            return Failure.LOCAL, type(error).__name__


def _broken(
    error: Exception, *, begun: bool, certified: bool, wall: Callable[[], float]
) -> tuple[Failure, str]:
    told = ""
    for cause in _causes(error):
        # An end of file within TLS is a broken connection like any other.
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            today = datetime.fromtimestamp(wall(), UTC).strftime("%Y-%m-%d")
            return tls_failure(cause, today=today, certified=certified)
        if isinstance(cause, OSError):
            told = cause.strerror or told
    words = _QUOTED.split(str(error), maxsplit=1)[0]
    return Failure.BROKEN if begun else Failure.CONNECT, told or words or type(error).__name__


def is_misunderstood(error: httpx.HTTPError, progress: Progress) -> bool:
    """Whether HTTP/1.1 may fare better where HTTP/2 failed.

    httpcore does not hear an answer that comes before the body was sent, as 413 does: it waits for leave to
    send the rest, or finds the connection gone.
    """
    if isinstance(error, httpx.ReadTimeout | httpx.WriteError):
        return not progress.ended
    return isinstance(error, httpx.ProtocolError)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that led to it, the first cause last but the members of groups."""
    while True:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for member in error.exceptions:
                yield from _causes(member)
        cause = error.__cause__ or error.__context__
        if cause is None:
            return
        error = cause
