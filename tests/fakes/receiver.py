"""What a careful receiver of batches does: check what came, and take each position once."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import http_sf
from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver, algorithms

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

REQUIRED = (
    "@method",
    "@target-uri",
    "content-digest",
    "content-type",
    "idempotency-key",
    "waystation-device",
    "waystation-batch",
)
"""What a signature has to cover; an encoding and a replaced batch as well, where they are there."""


@dataclass(frozen=True)
class Received:
    """One request, whole.

    Attributes:
        url: the target URI.
        body: the bytes as they came.
        problems: what the checks found wrong with it.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    problems: tuple[str, ...] = ()

    def header(self, name: str) -> str | None:
        """A header's value, None where it did not come."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def content(self) -> bytes:
        """The body, decoded."""
        return gzip.decompress(self.body) if self.header("Content-Encoding") == "gzip" else self.body

    @property
    def events(self) -> list[Any]:
        """The body's events."""
        events = json.loads(self.content)
        return events if isinstance(events, list) else []


@dataclass
class _Message:
    method: str
    url: str
    headers: dict[str, str]


class Book:
    """What a receiver knows: its keys, and what it has taken.

    Attributes:
        taken: by (device, epoch, lane), the events by position.
        problems: everything that should never happen, in words.
    """

    def __init__(self, keys: dict[str, bytes | Ed25519PublicKey], products: dict[str, str]) -> None:
        self.keys = keys
        self.products = products
        self.taken: dict[tuple[str, str, str], dict[int, Any]] = {}
        self.problems: list[str] = []
        self._bodies: dict[str, bytes] = {}

    def verify(self, request: Received) -> tuple[int, str]:
        """Check a request: (status, what is wrong), the dialect's success status and "" if nothing is."""
        try:
            request.events  # noqa: B018 -- decodes
        except (ValueError, OSError, EOFError):
            return 400, "the body cannot be read"
        product = request.header("X-Product-Key")
        if product is not None:
            return self._verify_product(request, product)
        if self.keys:
            try:
                self._verify_signature(request)
            except Exception as error:  # noqa: BLE001 -- whatever it is, the signature is not good
                return 401, f"signature: {error}"
        return 202, ""

    def _verify_product(self, request: Received, product: str) -> tuple[int, str]:
        if not self.products:
            return 200, ""
        if product not in self.products:
            return 403, "unknown product"
        expected = hashlib.md5(request.body + self.products[product].encode()).hexdigest()
        return (200, "") if request.header("X-Product-Auth") == expected else (401, "X-Product-Auth")

    def _verify_signature(self, request: Received) -> None:
        headers = dict(request.headers)
        ((_, parameters),) = _parsed(request, "Signature-Input", "dictionary").values()
        key = self.keys[parameters["keyid"]]
        algorithm = algorithms.HMAC_SHA256 if isinstance(key, bytes) else algorithms.ED25519
        verifier = HTTPMessageVerifier(
            signature_algorithm=algorithm,
            key_resolver=MappingKeyResolver(public_keys={parameters["keyid"]: key}, private_keys={}),
        )
        optional = ("content-encoding", "waystation-replaces")
        verifier.verify(
            _Message(request.method, request.url, headers),
            max_age=timedelta(minutes=5),
            require_components=(*REQUIRED, *(name for name in optional if request.header(name))),
            body=request.body,
        )

    def take(self, request: Received) -> None:
        """Take a batch, each of its positions once, and note what is wrong with its identity."""
        try:
            said = _parsed(request, "Waystation-Batch", "dictionary")
            device, _ = _parsed(request, "Waystation-Device", "item")
            key, _ = _parsed(request, "Idempotency-Key", "item")
        except ValueError as error:
            self.problems.append(f"no identity: {error}")
            return
        lane, first, last = said["lane"][0], said["first"][0], said["last"][0]
        events = request.events
        if len(events) != last - first + 1:
            self.problems.append(f"{key}: {len(events)} events for positions {first} to {last}")
        digest = hashlib.sha256(request.content).digest()
        if self._bodies.setdefault(key, digest) != digest:
            self.problems.append(f"{key}: came with another body before")
        positions = self.taken.setdefault((device, said["epoch"][0], lane), {})
        highest = max(positions, default=-1)
        for position, event in enumerate(events, first):
            if position not in positions:
                if position < highest:
                    self.problems.append(f"{lane}: {position} came after {highest}")
                positions[position] = event
            elif positions[position] != event and request.header("Waystation-Replaces") is None:
                self.problems.append(f"{lane}: {position} is another event than before")


def _parsed(request: Received, name: str, kind: str) -> Any:
    value = request.header(name)
    if value is None:
        raise ValueError(f"no {name}")
    return http_sf.parse(value.encode(), tltype=kind)
