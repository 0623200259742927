"""What a careful receiver of batches does: check what came, and take each position once.

    verify   is it from who it says, and as it was sent? Signature (RFC 9421) and digest
             (RFC 9530), or the Traintracks MD5
    take     which batch is it, and which of its positions are new? A receiver that keeps
             positions by device, epoch and lane has each event exactly once

Nothing of the forwarder's own code is used, so that a mistake there cannot hide here.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

import http_sf
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver, algorithms

from collector.demo.arrived import Repeat

if TYPE_CHECKING:
    from collections.abc import Mapping

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

MAX_AGE = timedelta(minutes=5)
"""Of a signature: a copy that is sent later is refused."""

_EVENTS = msgspec.json.Decoder(list[msgspec.Raw])


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
    def events(self) -> list[bytes]:
        """Each event's own bytes.

        Raises:
            ValueError: the body is no array of JSON.
        """
        return list(map(bytes, _EVENTS.decode(self.content)))


class Stream(NamedTuple):
    """What positions count in."""

    device: str
    epoch: str
    lane: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Which batch a request says it is.

    Attributes:
        key: the Idempotency-Key.
        first: position of its first event; `last` that of its last, both inclusive.
    """

    key: str
    stream: Stream
    first: int
    last: int


@dataclass
class _Message:
    """A request as http-message-signatures wants it."""

    method: str
    url: str
    headers: dict[str, str]


class Book:
    """What a receiver knows: its keys, and what it has taken.

    Args:
        keys: by key id, an hmac-sha256 secret or an ed25519 public key; with any, requests that
            are not Traintracks' must be signed.
        products: secrets by product key; with any, requests with another key are refused.

    Attributes:
        taken: by stream, each event's own bytes by position, in the order of arrival.
        repeats: the batches that held what had been taken before.
        problems: everything that should never happen, in words.
    """

    def __init__(self, keys: Mapping[str, bytes | Ed25519PublicKey], products: Mapping[str, str]) -> None:
        self.keys = keys
        self.products = products
        self.taken: dict[Stream, dict[int, bytes]] = {}
        self.repeats: list[Repeat] = []
        self.problems: list[str] = []
        self._batches: dict[str, tuple[Identity, bytes]] = {}
        self._highest: dict[Stream, int] = {}

    def verify(self, request: Received) -> tuple[int, str]:
        """Check a request: (status, what is wrong), the dialect's success status and "" if nothing is."""
        try:
            request.events  # noqa: B018 -- decodes
        except (ValueError, OSError, EOFError, RecursionError):
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
        ((_, parameters),) = _dictionary(request, "Signature-Input").values()
        key_id = str(parameters["keyid"])
        key = self.keys[key_id]
        signed_by_device = isinstance(key, Ed25519PublicKey)
        verifier = HTTPMessageVerifier(
            signature_algorithm=algorithms.ED25519 if signed_by_device else algorithms.HMAC_SHA256,
            key_resolver=MappingKeyResolver(public_keys={key_id: key}, private_keys={}),
        )
        optional = ("content-encoding", "waystation-replaces")
        verifier.verify(
            _Message(request.method, request.url, dict(request.headers)),
            max_age=MAX_AGE,
            require_components=(*REQUIRED, *(name for name in optional if request.header(name))),
            body=request.body,
        )

    def take(self, request: Received) -> None:
        """Take a batch, each of its positions once, and note what is wrong with its identity."""
        try:
            said = identity(request)
        except ValueError as error:
            self.problems.append(f"no identity: {error}")
            return
        events = request.events
        if len(events) != said.last - said.first + 1:
            self.problems.append(
                f"{said.key}: {len(events)} events for positions {said.first} to {said.last}"
            )
        batch = (said, hashlib.sha256(request.content).digest())
        before = self._batches.get(said.key)
        if before is None:
            self._batches[said.key] = batch
        if before is not None and before[0] != said:
            self.problems.append(f"{said.key}: came with other positions before")
        if before is not None and before[1] != batch[1]:
            self.problems.append(f"{said.key}: came with another body before")
        again = self._take(said, events, replaces=request.header("Waystation-Replaces") is not None)
        if again:
            lane = said.stream.lane
            self.repeats.append(Repeat(key=said.key, lane=lane, events=again, recognised=before == batch))

    def _take(self, said: Identity, events: list[bytes], *, replaces: bool) -> int:
        """Take the events at new positions; returns how many were not new."""
        positions = self.taken.setdefault(said.stream, {})
        lane, highest, again = said.stream.lane, self._highest.get(said.stream, -1), 0
        for position, event in enumerate(events, said.first):
            if position not in positions:
                if position < highest:
                    self.problems.append(f"{lane}: {position} came after {highest}")
                positions[position] = event
                continue
            again += 1
            if positions[position] != event and not replaces:
                self.problems.append(f"{lane}: {position} is another event than before")
        self._highest[said.stream] = max(highest, said.last)
        return again


def identity(request: Received) -> Identity:
    """Read which batch a request says it is.

    Raises:
        ValueError: it does not say so.
    """
    said = {name: value for name, (value, _) in _dictionary(request, "Waystation-Batch").items()}
    match [said.get(name) for name in ("epoch", "lane", "first", "last")]:
        case [str(epoch), str(lane), int(first), int(last)]:
            stream = Stream(_string(request, "Waystation-Device"), epoch, lane)
            return Identity(_string(request, "Idempotency-Key"), stream, first, last)
    raise ValueError("Waystation-Batch does not name epoch, lane, first and last")


def _string(request: Received, name: str) -> str:
    match _parsed(request, name, "item"):
        case (str(value), _):
            return value
    raise ValueError(f"{name} is no string")


def _dictionary(request: Received, name: str) -> dict[str, tuple[object, dict[str, object]]]:
    """A header's members: each value, or list, and its parameters."""
    parsed = _parsed(request, name, "dictionary")
    members = {}
    for key, member in (parsed if isinstance(parsed, dict) else {}).items():
        match member:
            case (value, dict(parameters)):
                members[key] = (value, parameters)
    return members


def _parsed(request: Received, name: str, kind: Literal["item", "dictionary"]) -> object:
    value = request.header(name)
    if value is None:
        raise ValueError(f"no {name}")
    return http_sf.parse(value.encode(), tltype=kind)
