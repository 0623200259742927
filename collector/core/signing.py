"""Signatures: the Traintracks MD5, and HTTP Message Signatures (RFC 9421).

`sign` covers what makes a batch what it is: method, target, the body by its digest
(RFC 9530), how to read the body, which batch it is, and when it was signed. Whoever holds
the key can check all of that; a copy sent elsewhere, later, or with another body fails.

http-message-signatures builds the signature base; importing it takes 120 ms, so that
waits for the first signature.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LABEL = "waystation"
"""The signature's name in both headers; it is not itself signed."""

COVERED = (
    "@method",
    "@target-uri",
    "content-digest",
    "content-type",
    "content-encoding",
    "idempotency-key",
    "waystation-device",
    "waystation-batch",
    "waystation-replaces",
    "waystation-labels",
)
"""The components a signature covers, in this order."""

_ONLY_WHERE_SENT = frozenset({"content-encoding", "waystation-replaces", "waystation-labels"})

Algorithm = Literal["hmac-sha256", "ed25519"]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key, parsed once; parsing a PEM file anew costs 0.3 ms a signature.

    Attributes:
        key_id: the name by which the upstream knows it.
        algorithm: what it is for.
        key: the shared secret's bytes, or the private key; never shown.
    """

    key_id: str
    algorithm: Algorithm
    key: bytes | Ed25519PrivateKey = field(repr=False)


@dataclass(slots=True)
class _Message:
    """What http-message-signatures reads of a request."""

    method: str
    url: str
    headers: dict[str, str]


def traintracks_auth(body: bytes, secret: str | bytes) -> str:
    """The value of `X-Product-Auth`: md5hex(body + secret).

    MD5 is what that API demands. It is no protection against someone who can choose
    bodies; TLS is.

    Args:
        body: exactly the bytes that are sent, after any Content-Encoding.
        secret: the product's; text counts as UTF-8.
    """
    digest = hashlib.md5(body, usedforsecurity=False)
    digest.update(secret.encode() if isinstance(secret, str) else secret)
    return digest.hexdigest()


def content_digest(body: bytes) -> str:
    """The value of `Content-Digest` (RFC 9530) for the bytes that are sent."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def load_hmac(secret: bytes, key_id: str) -> SigningKey:
    """Make an hmac-sha256 key of a shared secret's bytes, as they stand.

    Raises:
        ValueError: the secret is empty, or the key's id cannot stand in a header.
    """
    if not secret:
        raise ValueError("the shared secret is empty")
    return SigningKey(_checked_key_id(key_id), "hmac-sha256", secret)


def load_ed25519(pem: bytes, key_id: str) -> SigningKey:
    """Parse an Ed25519 private key (PEM, PKCS #8, not encrypted).

    Raises:
        ValueError: it is none; the message says why and never what it holds.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 -- 30 ms, for signers only
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("the private key is encrypted; an unencrypted one is needed") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a private key in PEM form") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("a private key of another kind; an Ed25519 key is needed")  # noqa: TRY004
    return SigningKey(_checked_key_id(key_id), "ed25519", key)


def _checked_key_id(key_id: str) -> str:
    if not (key_id and key_id.isascii() and key_id.isprintable()):
        raise ValueError("a key's id must be printable ASCII and not empty")
    return key_id


def covered(headers: Iterable[str]) -> tuple[str, ...]:
    """The components that a signature of ours covers.

    Args:
        headers: the names of the headers that are sent, in any case.

    Returns:
        `COVERED`, without those that only some requests have and this one has not.
    """
    present = {name.lower() for name in headers}
    return tuple(name for name in COVERED if name not in _ONLY_WHERE_SENT or name in present)


def sign(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    components: Sequence[str],
    key: SigningKey,
    created: int,
    include_alg: bool = True,
) -> dict[str, str]:
    """Sign a request.

    Args:
        method: in capitals.
        url: absolute and encoded, exactly as it is requested.
        headers: those that are sent; a digest among them must be right already.
        components: RFC 9421 component names, each there.
        key: signs.
        created: seconds since 1970, by the upstream's clock.
        include_alg: whether the parameters name the algorithm.

    Returns:
        The headers `Signature-Input` and `Signature`.

    Raises:
        ValueError: a component is not there, or is nothing that can be signed.
    """
    from http_message_signatures import (  # noqa: PLC0415 -- see the module's docstring
        HTTPMessageSignaturesException,
        HTTPMessageSigner,
        MappingKeyResolver,
        algorithms,
    )

    scheme = algorithms.ED25519 if key.algorithm == "ed25519" else algorithms.HMAC_SHA256
    signer = HTTPMessageSigner(
        signature_algorithm=scheme,
        key_resolver=MappingKeyResolver(public_keys={}, private_keys={key.key_id: key.key}),
    )
    message = _Message(method, url, dict(headers))
    try:
        signer.sign(
            message,
            key_id=key.key_id,
            created=datetime.fromtimestamp(created, tz=UTC),
            label=LABEL,
            include_alg=include_alg,
            covered_component_ids=tuple(components),
            use_existing_digest=any(name.lower() == "content-digest" for name in headers),
        )
    except HTTPMessageSignaturesException as error:
        raise ValueError(f"this request cannot be signed: {error}") from None
    return {name: message.headers[name] for name in ("Signature-Input", "Signature")}
