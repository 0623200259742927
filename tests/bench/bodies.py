"""What the sides are loaded with: requests whose bodies differ and compress five to six to one."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

VARIETY = {1: 4000, 100: 400}
"""Different bodies by events in each; a run goes through them again and again."""

_PAGES = ("orders", "search", "basket", "start", "account", "help")
_NAMES = ("user.item.added", "user.item.removed", "page.opened", "page.closed", "order.paid")
_WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heath",
    "inlet",
    "jetty",
    "knoll",
    "larch",
]


def event(number: int) -> bytes:
    """One event of about 130 bytes; the same for the same number."""
    dice = hashlib.sha256(number.to_bytes(8)).digest()
    fields = {
        "timestamp": 1_790_000_000_000 + number * 7 + dice[0] % 16,
        "sourceId": f"kiosk-{dice[1] % 40:02}",
        "eventName": _NAMES[dice[2] % 5],
        "id": dice[3:7].hex(),
        "page": _PAGES[dice[9] % 6],
        "text": f"{_WORDS[dice[10] % 12]} {_WORDS[dice[11] % 12]}",
    }
    return json.dumps(fields, separators=(",", ":")).encode()


def body(number: int, *, events: int) -> bytes:
    """The body of one request."""
    return b"[%b]" % b",".join(event(number * events + index) for index in range(events))


def bodies(events: int) -> list[bytes]:
    """All different bodies of so many events."""
    return [body(number, events=events) for number in range(VARIETY[events])]


def request(payload: bytes, number: int) -> bytes:
    """A whole HTTP request, as an app's client sends it."""
    head = (
        "POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"X-Samsara-publishedTimestamp: {1_790_000_000_000 + 53 * number}\r\n"
        f"Content-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


def write(path: Path, payloads: list[bytes]) -> None:
    """The requests' bytes for wrk's script: each one's length in a line, then itself."""
    wholes = [request(payload, number) for number, payload in enumerate(payloads)]
    path.write_bytes(b"".join(b"%d\n%b" % (len(whole), whole) for whole in wholes))


def shape(events: int) -> dict[str, float]:
    """Bytes an event, and how far they compress as the spool does it."""
    payloads = bodies(events)[:100]
    plain = sum(map(len, payloads))
    packed = sum(len(zlib.compress(payload, 1)) for payload in payloads)
    return {"bytes_per_event": plain / (100 * events), "ratio": plain / packed}
