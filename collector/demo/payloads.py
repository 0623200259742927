"""What the demo's apps post: the documents' own examples, and generated events.

The examples stand as the two public documents give them:

- Samsara's page "Ingestion API & Events" (http://samsara-analytics.io, documentation), under
  "/events": two events, posted plain and as gzip.
- Traintracks' page "Sending events to Traintracks", under "Example": a batch of two events;
  and the product key that its text gives.

The generated events are unlike each other and full of what careless software changes on the
way: digits that no float holds, escapes, spaces, an order of keys, letters beyond the BMP.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Literal

import msgspec

from collector.core.dialects.traintracks import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

Dialect = Literal["samsara", "traintracks"]
Way = Literal["tcp", "unix"]

SAMSARA_EXAMPLE = """\
[
  {
    "timestamp": $(date +%s000),
    "sourceId": "3aw4sedrtcyvgbuhjkn",
    "eventName": "user.item.added",
    "page": "orders",
    "item": "sku-1234"
  }, {
    "timestamp": $(date +%s000),
    "sourceId": "3aw4sedrtcyvgbuhjkn",
    "eventName": "user.item.removed",
    "page": "orders",
    "item": "sku-5433",
    "action": "remove"
  }
]
"""

TRAINTRACKS_EXAMPLE = """\
[
  {
    "build": "1.1.1",
    "clientTimestamp": "2012-03-14T02:33:42.416587-07:00",
    "data": {
      "winner": {
        "name": "JaneDoe",
        "experiencePoints": "500",
        "weapon": "Ragnarok",
        "money": 2350
      },
      "loser": {
        "name": "Action888",
        "experiencePoints": "200",
        "weapon": "Buster Sword",
        "money": 1200
      },
      "battleTime": 52030
    },
    "device": "iPhone 5S",
    "eventType": "sword_battle",
    "userId": "3dc6b97d-7388-11e4-bfb3-b8e8563b3f9a",
    "userName": "JaneDoe",
    "sessionId": "fff324c6-30a2-11e3-ad80-485d60066bda",
    "location": {
      "lat": 37.871984,
      "lon": -122.259420
    }
  },
  {
    "build": "1.1.1",
    "clientTimestamp": "2012-03-14T02:43:43.416587-07:00",
    "data": {
      "user": {
        "experiencePoints": 500,
        "money": 2326
      },
      "item": {
        "name": "Excalibur",
        "cost": 24,
        "type": "sword"
      }
    },
    "device": "iPhone 5S",
    "eventType": "store_purchase",
    "userId": "3dc6b97d-7388-11e4-bfb3-b8e8563b3f9a",
    "userName": "JaneDoe",
    "sessionId": "fff324c6-30a2-11e3-ad80-485d60066bda",
    "location": {
      "lat": 37.871984,
      "lon": -122.259420
    }
  }
]
"""

PRODUCT = "a32e6578-17b7-11e4-930a-bc764e1c05e4"

SOURCES = 5
"""Users whose events each app mixes."""

MAX_EVENTS = 40
"""Of one generated request."""

_CURIOUS = (
    '"price":1.10',
    '"total": 1E+2',
    '"big":92233720368547758070001',
    '"tiny":-0.0',
    '"where":"a\\/b"',
    '"html":"\\u003cb\\u003e"',
    '"name":"Zoë 🚂 Ωmega"',
    '"nested" : { "b": [1, 2.50, null, { } ], "a": "\\"" }',
    '"note":"tab\\tand \\ud83d\\ude82 escaped"',
    '"empty":[],"same":[]',
    '"id":"7f3a"',
    '"flag":false,"nothing":null',
)


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it is posted.

    Attributes:
        text: its own bytes.
        source: who it is from.
        number: ascending within the source.
    """

    text: bytes
    source: str
    number: int


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the daemon.

    Attributes:
        way: the listener that it goes to.
        body: before any Content-Encoding.
        events: the elements of the body.
        gzipped: whether it is sent compressed.
    """

    dialect: Dialect
    way: Way
    body: bytes
    events: tuple[Event, ...]
    gzipped: bool = False

    @property
    def content(self) -> bytes:
        """The bytes that are sent."""
        return gzip.compress(self.body, mtime=0) if self.gzipped else self.body


def examples(*, now_ms: int) -> list[Request]:
    """The documents' batches, each over both listeners.

    Args:
        now_ms: the time at which they are posted, ms since 1970: what `date` says in them.
    """
    samsara = SAMSARA_EXAMPLE.replace("$(date +%s000)", str(now_ms // 1000 * 1000)).encode()
    traintracks = TRAINTRACKS_EXAMPLE.encode()
    return [
        Request("samsara", "tcp", samsara, _example(samsara, 0)),
        Request("samsara", "unix", samsara, _example(samsara, 1), gzipped=True),
        Request("traintracks", "tcp", traintracks, _example(traintracks, 0)),
        Request("traintracks", "unix", traintracks, _example(traintracks, 1)),
    ]


def _example(batch: bytes, turn: int) -> tuple[Event, ...]:
    elements = msgspec.json.decode(batch, type=list[msgspec.Raw])
    return tuple(
        Event(bytes(text), "the example", number)
        for number, text in enumerate(elements, turn * len(elements))
    )


def generated(events: int, *, seed: int, now_ms: int) -> list[list[Request]]:
    """The requests of four apps, one a dialect and listener.

    Args:
        events: of all of them together.
        seed: the same one gives the same events.
        now_ms: the time of the first, ms since 1970.
    """
    apps: list[tuple[Dialect, Way]] = [
        ("samsara", "tcp"),
        ("traintracks", "tcp"),
        ("samsara", "unix"),
        ("traintracks", "unix"),
    ]
    shares = [events // len(apps) + (index < events % len(apps)) for index in range(len(apps))]
    return [
        list(_requests(dialect, way, share, _Dice(f"{seed} {dialect} {way}"), now_ms))
        for (dialect, way), share in zip(apps, shares, strict=True)
    ]


def name_of(text: str) -> tuple[str, int] | None:
    """The source and the number of a generated event, however it was changed; None if it has none."""
    try:
        said = msgspec.json.decode(text, type=_Named)
    except (ValueError, RecursionError):
        return None
    source, number = said.source_id or said.user_id, said.data.seq if said.seq is None else said.seq
    return None if number is None else (source, number)


class _Data(msgspec.Struct):
    seq: int | None = None


class _Named(msgspec.Struct, rename="camel"):
    source_id: str = ""
    user_id: str = ""
    seq: int | None = None
    data: _Data = msgspec.field(default_factory=_Data)


class _Dice:
    """Chance that can be had again."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._rolls = count()

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1."""
        rolled = hashlib.sha256(f"{self._seed} {next(self._rolls)}".encode()).digest()
        return int.from_bytes(rolled[:8], "big") % limit


def _requests(dialect: Dialect, way: Way, events: int, dice: _Dice, now_ms: int) -> Iterator[Request]:
    sources = [_source(dialect, way, index) for index in range(SOURCES)]
    numbers = dict.fromkeys(sources, 0)
    while events > 0:
        batch: list[Event] = []
        for _ in range(min(events, 1 + dice.below(MAX_EVENTS))):
            source = sources[dice.below(SOURCES)]
            number = numbers[source]
            numbers[source] += 1
            write = _samsara if dialect == "samsara" else _traintracks
            text = write(source, number, _curious(dice), now_ms + number)
            batch.append(Event(text.encode(), source, number))
        events -= len(batch)
        gap = (b",", b", ", b"\n,\t")[dice.below(3)]
        body = b"[" + gap.join(event.text for event in batch) + b"]"
        gzipped = dialect == "samsara" and dice.below(2) == 0
        yield Request(dialect, way, body, tuple(batch), gzipped=gzipped)


def _source(dialect: Dialect, way: Way, index: int) -> str:
    if dialect == "samsara":
        return f"{way}-user-{index}"
    return f"3dc6b97d-7388-11e4-bfb3-{'1' if way == 'tcp' else '2'}{index:011x}"  # a UUID of version 1


def _curious(dice: _Dice) -> str:
    """Members that are easily changed, each led by a comma."""
    first, some = dice.below(len(_CURIOUS)), dice.below(4)
    return "".join(f",{member}" for member in _CURIOUS[first : first + some])


def _samsara(source: str, number: int, more: str, now_ms: int) -> str:
    return f'{{ "timestamp":{now_ms}, "sourceId":"{source}","eventName":"demo.ran","seq":{number}{more}}}'


def _traintracks(source: str, number: int, more: str, now_ms: int) -> str:
    return (
        f'{{"build":"1.1.1","clientTimestamp":"{format_timestamp(now_ms)}",'
        f'"data":{{"seq":{number}{more}}},"device":"iPhone 4S","eventType":"demo_ran",'
        f'"userId":"{source}","userName":"typicalGamer2000",'
        f'"sessionId":"fff324c6-30a2-11e3-ad80-485d60066bda" }}'
    )
