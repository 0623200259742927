"""What apps sent, held against what came out at the other end.

Nothing of the product is used here: events are cut out of a batch by the standard
library's parser, and compared as text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import http_sf

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from fakes.upstream import Upstream

    from collector.demo.book import Received

_STAMPS = re.compile(r'(?:,"receivedAt":\d{13})?(?:,"publishedAt":\d{13})?(?:,"serverTimestamp":"[^"]*")?\}$')
_GAP = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Sent:
    """An event as an app sent it.

    Attributes:
        text: its JSON, unlike any other event's, without anything that a collector adds.
        source: who sent it.
        number: ascending within the source.
    """

    text: str
    source: str
    number: int


def elements(array: str) -> list[str]:
    """Each element's own text."""
    found = []
    start = _GAP.match(array, array.index("[") + 1).end()  # type: ignore[union-attr]
    while array[start] != "]":
        _, end = _DECODER.raw_decode(array, start)
        found.append(array[start:end])
        start = _GAP.match(array, end).end()  # type: ignore[union-attr]
    return found


def bare(event: str) -> str:
    """An event's text without the stamps that a collector puts at its end."""
    return _STAMPS.sub("}", event)


def batch_range(request: Received) -> tuple[str, int, int]:
    """A batch's lane with its epoch, and its first and last position."""
    said = http_sf.parse((request.header("Waystation-Batch") or "").encode(), tltype="dictionary")
    epoch, lane, first, last = (said[name][0] for name in ("epoch", "lane", "first", "last"))
    return f"{lane} {epoch}", first, last


def whole(received: Iterable[Received]) -> list[Received]:
    """The requests that came to their end; a sender that is killed leaves others."""
    return [request for request in received if request.header("Content-Length") == str(len(request.body))]


def arrivals(upstream: Upstream) -> dict[str, dict[int, str]]:
    """By lane and epoch the text of each event that was taken, by position, in the order of arrival."""
    texts: dict[str, dict[int, str]] = {}
    read = set()
    for request in whole(upstream.received):
        lane, first, _ = batch_range(request)
        # An upstream that is down is sent the same again and again.
        if (lane, first, request.body) in read:
            continue
        read.add((lane, first, request.body))
        texts.setdefault(lane, {}).update(enumerate(elements(request.content.decode()), first))
    return {
        f"{lane} {epoch}": {position: texts[f"{lane} {epoch}"][position] for position in positions}
        for (_, epoch, lane), positions in upstream.book.taken.items()
    }


def delivery_faults(
    sent: Iterable[Sent], acknowledged: Iterable[Sent], arrived: Mapping[int, str]
) -> list[str]:
    """What is wrong with one lane's delivery; nothing, if all is as promised.

    Args:
        sent: all that may have been accepted.
        acknowledged: what was answered with success.
        arrived: events by position, in the order of their first arrival.
    """
    by_text = {event.text: event for event in sent}
    faults = []
    places: dict[str, int] = {}
    latest: dict[str, Sent] = {}
    for expected, (position, text) in enumerate(arrived.items()):
        if position != expected:
            faults.append(f"out of order: position {position} came where {expected} was due")
        event = by_text.get(bare(text))
        if event is None:
            faults.append(f"altered or never sent: {text[:200]}")
            continue
        if event.text in places:
            faults.append(f"twice, at {places[event.text]} and {position}: {event.text[:200]}")
        places[event.text] = position
        before = latest.get(event.source)
        if before is not None and before.number >= event.number:
            faults.append(f"out of order: {event.source} {event.number} after {before.number}")
        latest[event.source] = event
    faults.extend(
        f"acknowledged and lost: {event.text[:200]}" for event in acknowledged if event.text not in places
    )
    return faults


def repeat_faults(received: Iterable[Received]) -> list[str]:
    """What is wrong with the repeats among the batches of one upstream.

    A batch that comes again has the key, the positions and the body that it had before,
    and no position comes under two keys.
    """
    faults = []
    known: dict[str, tuple[tuple[str, int, int], bytes]] = {}
    owners: dict[tuple[str, int], str] = {}
    read = set()
    for request in received:
        key = request.header("Idempotency-Key") or ""
        lane, first, last = said = batch_range(request)
        if (key, said, request.body) in read:
            continue
        read.add((key, said, request.body))
        events = elements(request.content.decode())
        if len(events) != last - first + 1:
            faults.append(f"{key}: {len(events)} events for the positions {first} to {last}")
        before = known.setdefault(key, (said, request.content))
        if before[0] != said:
            faults.append(f"{key}: positions {said}, and before {before[0]}")
        if before[1] != request.content:
            faults.append(f"{key}: another body than before")
        for position in range(first, last + 1):
            owner = owners.setdefault((lane, position), key)
            if owner != key:
                faults.append(f"{lane}: position {position} came under {owner} and {key}")
                break
    return faults


def in_files(directory: Path) -> dict[str, dict[int, str]]:
    """By dialect, the events that an upstream of kind `file` wrote: text by position, in its order."""
    found: dict[str, dict[int, str]] = {}
    for file in sorted(directory.glob("*.ndjson")):
        for line in file.read_text(encoding="utf-8").split("\n")[:-1]:
            head, _, event = line.partition(',"event":')
            dialect, position = head.split('"')[3], int(head.rpartition(":")[2])
            assert position not in found.setdefault(dialect, {}), f"{file.name} has position {position} twice"
            found[dialect][position] = event[:-1]
    return found
