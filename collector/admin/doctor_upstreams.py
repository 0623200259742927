"""The doctor's checks of what is upstream: secrets, keys, signatures, and who can be reached."""

from __future__ import annotations

import base64
import os
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from collector.admin.checks import Check, fail, ok, warn
from collector.config.redact import redact_url
from collector.core.signing import content_digest, sign
from collector.errors import SecretError, UpstreamError
from collector.forwarder.keys import UpstreamKeys
from collector.forwarder.proxy import proxy_for
from collector.forwarder.trust import Trust, tls_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from collector.config.model import Upstream
    from collector.core.signing import SigningKey
    from collector.spool.views import LaneView

CHUNK_BYTES = 64 * 1024
"""Read of a handshake at a time."""

_SEEN = "look at what the upstream says of it; waystation status shows the lane, and it goes on by itself"
_HELD = "resume it, or put the configuration back; or let its events age out"


def secret(name: str, read: Callable[[], object]) -> Check:
    """Whether a secret is there, and for its owner alone."""
    try:
        read()
    except SecretError as error:
        return fail(name, f"found {error.found}", f"put in its place {error.expected}")
    except ValueError as error:
        return fail(name, str(error), "put the right key in its place")
    return ok(name, "can be loaded")


def signature(upstream: Upstream, environ: Mapping[str, str], *, now: int) -> Check:
    """Sign a request that is not sent, and verify it as the upstream would.

    Args:
        upstream: signs by RFC 9421.
        environ: of the process.
        now: ms since 1970.
    """
    name = f"key of upstream {upstream.name}"
    found = secret(name, UpstreamKeys(upstream, environ=environ).read)
    if found.result != "ok":
        return found
    key = UpstreamKeys(upstream, environ=environ).read()
    try:
        _sign_and_verify(upstream.url or "", key, now=now)
    except ValueError as error:
        return fail(name, f"its signature does not verify: {error}", "put the right key in its place")
    public = ""
    if not isinstance(key.key, bytes):
        public = f"; its public half is {base64.b64encode(key.key.public_key().public_bytes_raw()).decode()}"
    return ok(name, f"can be loaded, and what it signs as {key.key_id} ({key.algorithm}) verifies{public}")


def _sign_and_verify(url: str, key: SigningKey, *, now: int) -> None:
    headers = {"Content-Digest": content_digest(b"[]")}
    components = ("@method", "@target-uri", "content-digest")
    headers |= sign(
        method="POST", url=url, headers=headers, components=components, key=key, created=now // 1000
    )
    # Slow to import, and for signers only.
    from http_message_signatures import (  # noqa: PLC0415
        HTTPMessageSignaturesException,
        HTTPMessageVerifier,
        MappingKeyResolver,
        algorithms,
    )

    public = key.key if isinstance(key.key, bytes) else key.key.public_key()
    scheme = algorithms.HMAC_SHA256 if isinstance(key.key, bytes) else algorithms.ED25519
    verifier = HTTPMessageVerifier(
        signature_algorithm=scheme,
        key_resolver=MappingKeyResolver(public_keys={key.key_id: public}, private_keys={}),
    )
    try:
        verifier.verify(_Message("POST", url, headers))
    except HTTPMessageSignaturesException as error:
        raise ValueError(str(error)) from None


@dataclass(frozen=True, slots=True)
class _Message:
    """What http-message-signatures reads of a request."""

    method: str
    url: str
    headers: dict[str, str]


def lanes(upstream: str, found: Sequence[LaneView]) -> Check | None:
    """What the lanes of an upstream say of it; None where none of them is kept from delivering."""
    name = f"lanes of upstream {upstream}"
    waiting = [lane for lane in found if lane.upstream == upstream and lane.pending_events]
    blocked = [lane for lane in waiting if lane.state == "blocked"]
    retrying = [lane for lane in waiting if lane.state == "retrying"]
    if blocked:
        return fail(name, f"{blocked[0].name} is blocked: {blocked[0].reason}", _SEEN)
    if retrying:
        return warn(name, f"{retrying[0].name} tries again: {retrying[0].reason}", _SEEN)
    held = [lane for lane in waiting if not lane.delivers]
    if held:
        return warn(name, f"{held[0].name} is {held[0].state}: {held[0].reason}", _HELD)
    return None


def reach(upstream: Upstream, directory: Path, environ: Mapping[str, str]) -> Check:
    """Whether an upstream's files can be written, or a connection be made to it; nothing is sent."""
    name = f"upstream {upstream.name}"
    if upstream.kind == "file":
        place = upstream.files_below(directory)
        # Of these tests it is the one that says no where this user may not look.
        nearest = next(path for path in (place, *place.parents) if os.access(path, os.F_OK))
        if os.access(nearest, os.W_OK | os.X_OK):
            return ok(name, f"{place} can be written")
        return fail(
            name, f"{place} cannot be written", f"give the daemon's user the right to write to {nearest}"
        )
    parts = urlsplit(upstream.url or "")
    where = redact_url(upstream.url or "")
    if proxy_for(upstream.url or "", configured=upstream.proxy, environ=environ):
        return warn(
            name, f"{where} is reached by a proxy, which is not tried", "see the lane in waystation status"
        )
    try:
        trust = Trust(upstream, environ, proxy=None) if parts.scheme == "https" else None
        _connect(upstream, parts.hostname or "", parts.port or _PORTS[parts.scheme], trust)
    except ssl.SSLError as error:
        certified = upstream.client_cert_file is not None
        _, told = tls_failure(error, today=f"{datetime.now(UTC):%Y-%m-%d}", certified=certified)
        reason = told or str(error)
        return fail(
            name, f"{where}: TLS: {reason}", "look at the certificate, ca_file, the clock, and for a portal"
        )
    except (OSError, UpstreamError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return fail(
            name, f"{where} cannot be reached: {reason}", "look at the url, name resolution and the network"
        )
    return ok(name, f"{where} can be reached")


_PORTS = {"http": 80, "https": 443}


def _connect(upstream: Upstream, host: str, port: int, trust: Trust | None) -> None:
    with socket.create_connection((host, port), timeout=upstream.timeouts.connect) as plain:
        if trust is not None:
            _shake_hands(plain, trust.contexts().upstream, host)


def _shake_hands(plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
    # By hand, since what checks the pinned keys is a class for this kind of TLS object.
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=host)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            plain.sendall(outgoing.read())
            received = plain.recv(CHUNK_BYTES)
            if not received:
                raise ConnectionError("it ends the handshake") from None
            incoming.write(received)
        else:
            plain.sendall(outgoing.read())
            return
