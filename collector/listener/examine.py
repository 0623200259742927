"""One request's body, looked at: decompressed, its signature checked, its events judged.

A body of a few events is looked at on the spot. Of a larger one that is tried as far as it costs a
few passes in C; what takes longer, a body that is large or whose events must be looked at singly,
is to be looked at on a worker thread, so that one client's body never holds up the others.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from collector.core.dialects import Accepted, samsara, traintracks
from collector.core.http import Answer, error_answer
from collector.core.limits import INLINE_BYTES, QUICK_BYTES, SMALL_BODY_BYTES
from collector.core.signing import traintracks_auth
from collector.listener.decode import TOO_LARGE, TOO_MANY, bound, gunzip, is_gzip

if TYPE_CHECKING:
    from collector.listener.policy import Policy
    from collector.listener.routes import Request

_WRONG_AUTH = error_answer(
    401, "X-Product-Auth is not md5hex(body + secret).", headers=(("WWW-Authenticate", "X-Product-Auth"),)
)
_NO_AUTH = error_answer(401, "X-Product-Auth is missing.", headers=(("WWW-Authenticate", "X-Product-Auth"),))

_BOUNDS = (TOO_LARGE, TOO_MANY)
"""What is said of a body before its signature is looked at."""

Finding = Accepted | Answer
"""The events are good, or the request is refused so."""


def quickly(request: Request, policy: Policy) -> Finding | None:
    """The finding; None where it takes a worker thread to come to one."""
    body = request.body
    if not _is_compressed(request):
        return (
            None
            if len(body) > QUICK_BYTES
            else _auth_fault(request, policy, body) or _glance(request, policy, body)
        )
    if len(body) > SMALL_BODY_BYTES:
        return None
    most = bound(body, policy.limits)
    decoded = gunzip(body, max_bytes=min(most, QUICK_BYTES), limits=policy.limits)
    if not isinstance(decoded, Answer):
        return _auth_fault(request, policy, decoded) or _glance(request, policy, decoded)
    if decoded is TOO_MANY:
        return decoded
    if decoded is not TOO_LARGE:
        return _auth_fault(request, policy, body) or decoded
    return None if most > QUICK_BYTES else TOO_LARGE


def thoroughly(request: Request, policy: Policy) -> Finding:
    """The finding, in up to half a second; of use to any thread."""
    body = request.body
    if not _is_compressed(request):
        return _auth_fault(request, policy, body) or _read(request, policy, body)
    decoded = gunzip(body, max_bytes=bound(body, policy.limits), limits=policy.limits)
    if not isinstance(decoded, Answer):
        return _auth_fault(request, policy, decoded) or _read(request, policy, decoded)
    return decoded if decoded in _BOUNDS else _auth_fault(request, policy, body) or decoded


def _is_compressed(request: Request) -> bool:
    headers = request.headers
    return "content-encoding" in headers and is_gzip(headers["content-encoding"])


def _glance(request: Request, policy: Policy, decoded: bytes) -> Finding | None:
    """The finding, as far as it costs no work an event, or there are few events."""
    if len(decoded) <= INLINE_BYTES:
        return _read(request, policy, decoded)
    headers = request.headers
    content_type = headers.get("content-type")
    if "x-product-key" in headers:
        read = traintracks.glance(decoded, content_type=content_type, limits=policy.limits)
    else:
        read = samsara.glance(
            decoded,
            content_type=content_type,
            published_timestamp=headers.get("x-samsara-publishedtimestamp"),
            limits=policy.limits,
        )
    return read if read is None or isinstance(read, Accepted) else read.answer


def _read(request: Request, policy: Policy, decoded: bytes) -> Finding:
    headers = request.headers
    content_type = headers.get("content-type")
    if "x-product-key" in headers:
        read = traintracks.read(
            decoded, content_type=content_type, strict=policy.strict, limits=policy.limits
        )
    else:
        read = samsara.read(
            decoded,
            content_type=content_type,
            published_timestamp=headers.get("x-samsara-publishedtimestamp"),
            limits=policy.limits,
        )
    return read if isinstance(read, Accepted) else read.answer


def _auth_fault(request: Request, policy: Policy, decoded: bytes) -> Answer | None:
    """401, where a signature is asked for and is not there, or does not fit."""
    key = request.headers.get("x-product-key")
    if key is None or not policy.secrets or policy.auth == "off":
        return None
    auth = request.headers.get("x-product-auth")
    if auth is None:
        return _NO_AUTH if policy.auth == "required" else None
    return None if _is_signed(auth, policy.secrets[key], request.body, decoded) else _WRONG_AUTH


def _is_signed(auth: str, secrets: tuple[bytes, ...], received: bytes, decoded: bytes) -> bool:
    """Whether `auth` fits the bytes as they came, or, where they came compressed, the JSON in them."""
    claimed = auth.lower().encode("latin-1")
    bodies = (received,) if received is decoded else (received, decoded)
    return any(
        hmac.compare_digest(traintracks_auth(body, secret).encode("ascii"), claimed)
        for body in bodies
        for secret in secrets
    )
