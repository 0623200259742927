"""What a spool should hold: its reference model, in a few plain lists."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.core.batch import lane_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from collector.core.batch import SealedBatch

Stream = tuple[str, str]

SAMSARA = ("samsara", "")
TRAINTRACKS = ("traintracks", "p")
OTHER = ("traintracks", "q")
STREAMS = (SAMSARA, TRAINTRACKS, OTHER)
CONFIGURATIONS: tuple[dict[str, tuple[Stream, ...]], ...] = (
    {"a": STREAMS},
    {"a": STREAMS, "b": STREAMS},
    {"a": STREAMS, "b": (SAMSARA,)},
    {"b": STREAMS},
    {"a": (TRAINTRACKS,), "b": (SAMSARA, OTHER)},
    {"a": STREAMS, "c": STREAMS},
    {"b": (SAMSARA,), "c": STREAMS},
    {"a": STREAMS, "d": STREAMS},
    {"a": STREAMS, "e": STREAMS},
    {"a": (SAMSARA,), "e": STREAMS},
)
"""What upstreams, by name, may be configured to take."""

FROM_OLDEST = ("c", "d")

BOUNDS = {"e": 1500}
"""What an upstream's lanes may hold together, in bytes."""


@dataclass
class ModelChunk:
    """A chunk.

    Attributes:
        age: where the age clock stood when it was accepted.
        missed: by how much it is older than that clock says, as far as is known.
    """

    stream: Stream
    first: int
    events: int
    day: int
    age: int
    size: int
    damaged: bool = False
    missed: int = 0
    replayed: bool = False


@dataclass
class ModelLetter:
    """A dead letter; `age` is where the age clock stood when it died."""

    lane: ModelLane
    day: int
    age: int
    damaged: bool


@dataclass
class ModelLane:
    """A lane.

    Attributes:
        needs: the chunks that it has still to send something of.
        index: the first event that it has still to send, in the first of them.
        ledger: by day, how many events came to what.
    """

    upstream: str
    stream: Stream
    needs: list[int] = field(default_factory=list)
    index: int = 0
    away: bool = False
    batch: SealedBatch | None = None
    condemned: list[int] = field(default_factory=list)
    suspect_end: int | None = None
    ledger: dict[int, Counter[str]] = field(default_factory=dict)

    def count(self, day: int, **changes: int) -> None:
        self.ledger.setdefault(day, Counter()).update(changes)


class Model:
    """The spool.

    Attributes:
        takes: by configured upstream, the streams it takes.
        ended: ids of batches that are over.
        letters: by number.
    """

    def __init__(self) -> None:
        self.takes: Mapping[str, Collection[Stream]] = {}
        self.known: set[str] = set()
        self.chunks: dict[int, ModelChunk] = {}
        self.lanes: dict[str, ModelLane] = {}
        self.next_seq = 1
        self.next_position: Counter[Stream] = Counter()
        self.received: Counter[Stream] = Counter()
        self.ended: set[str] = set()
        self.letters: dict[int, ModelLetter] = {}
        self.next_letter = 1
        self._confirmed: tuple[int, int, int] | None = None

    def keep_clocks(self, *, boot: int, age: int, wall: int, confirmed: bool) -> None:
        """Where the clocks stand is persisted."""
        if not confirmed:
            return
        if self._confirmed is not None and self._confirmed[0] != boot:
            _, age_then, wall_then = self._confirmed
            missed = (wall - wall_then) - (age - age_then)
            for chunk in self.chunks.values():
                if missed > 0 and chunk.age < age_then:
                    chunk.missed += missed
        self._confirmed = (boot, age, wall)

    def configure(self, takes: Mapping[str, Collection[Stream]], from_oldest: Collection[str]) -> None:
        """The daemon starts with these upstreams."""
        self.takes = takes
        for upstream in from_oldest:
            if upstream in takes and upstream not in self.known:
                for stream in takes[upstream]:
                    self._start_at_oldest(upstream, stream)
        self.known |= takes.keys()
        for lane in self.lanes.values():
            lane.away = lane.stream not in takes.get(lane.upstream, ())

    def _start_at_oldest(self, upstream: str, stream: Stream) -> None:
        present = [
            seq
            for seq in self.needed()
            if self.chunks[seq].stream == stream and not self.chunks[seq].replayed
        ]
        if present:
            lane = self._lane(upstream, stream)
            for seq in present:
                self._give(lane, seq)

    def _lane(self, upstream: str, stream: Stream) -> ModelLane:
        return self.lanes.setdefault(lane_name(upstream, *stream), ModelLane(upstream, stream))

    def _give(self, lane: ModelLane, seq: int) -> None:
        chunk = self.chunks[seq]
        lane.needs.append(seq)
        lane.count(chunk.day, accepted=chunk.events, pending=chunk.events)

    def takers(self, stream: Stream) -> list[str]:
        return [upstream for upstream, streams in self.takes.items() if stream in streams]

    def is_over(self, upstream: str, size: int, *, before: int = 0) -> bool:
        """Whether an upstream holds so much that `size` bytes more are beyond its bound.

        `before` is what the same commit gives it already.
        """
        lanes = [lane for lane in self.lanes.values() if lane.upstream == upstream and not lane.away]
        held = sum(map(self.held, lanes)) + before
        return upstream in BOUNDS and held > 0 and held + size > BOUNDS[upstream]

    def accept(
        self, stream: Stream, events: int, *, day: int, age: int, size: int, over: Collection[str] = ()
    ) -> None:
        first = self.next_position[stream]
        self.chunks[self.next_seq] = ModelChunk(stream, first, events, day, age, size)
        for upstream in self.takers(stream):
            lane = self._lane(upstream, stream)
            if upstream in over:
                lane.count(day, accepted=events, evicted=events)
            else:
                self._give(lane, self.next_seq)
        self.next_seq += 1
        self.next_position[stream] += events
        self.received[stream] += events

    def bury(self, lane: ModelLane, day: int, *, age: int, damaged: bool) -> None:
        """A dead letter is kept."""
        self.letters[self.next_letter] = ModelLetter(lane, day, age, damaged)
        self.next_letter += 1

    def replayable(self, numbers: Collection[int]) -> list[int]:
        """Which letters can be replayed, in the order in which they are."""
        order = list(self.lanes.values())
        found = [number for number in numbers if number in self.letters]
        found = [number for number in found if not self.letters[number].damaged]
        found = [number for number in found if not self.letters[number].lane.away]
        return sorted(found, key=lambda number: (order.index(self.letters[number].lane), number))

    def replay(self, lane: ModelLane, day: int, events: int, *, age: int, size: int) -> None:
        """A lane's dead letters of one day are one more chunk, for it alone."""
        first = self.next_position[lane.stream]
        self.chunks[self.next_seq] = ModelChunk(lane.stream, first, events, day, age, size, replayed=True)
        lane.needs.append(self.next_seq)
        lane.count(day, dead=-events, pending=events)
        self.next_seq += 1
        self.next_position[lane.stream] += events

    def trim_letters(self, *, max_count: int, died_before: int) -> None:
        """The oldest letters go, as the bounds say."""
        for number, letter in sorted(self.letters.items()):
            if letter.age >= died_before and len(self.letters) <= max_count:
                return
            del self.letters[number]

    def needed(self) -> list[int]:
        """The chunks that some lane has still to send something of."""
        return sorted({seq for lane in self.lanes.values() for seq in lane.needs})

    def pending(self, lane: ModelLane) -> list[int]:
        """The positions that a lane has still to send."""
        found: list[int] = []
        for seq in lane.needs:
            chunk = self.chunks[seq]
            start = lane.index if seq == lane.needs[0] else 0
            found += range(chunk.first + start, chunk.first + chunk.events)
        return found

    def held(self, lane: ModelLane) -> int:
        return sum(self.chunks[seq].size for seq in lane.needs)

    def head_is_damaged(self, lane: ModelLane) -> bool:
        return bool(lane.needs) and self.chunks[lane.needs[0]].damaged

    def finish(self, lane: ModelLane, events: int, fate: str) -> None:
        """The next events of a lane come to their end."""
        for _ in range(events):
            chunk = self.chunks[lane.needs[0]]
            lane.count(chunk.day, **{"pending": -1, fate: 1})
            lane.index += 1
            if lane.index == chunk.events:
                lane.needs.pop(0)
                lane.index = 0
        pending = self.pending(lane)
        head = pending[0] if pending else self.next_position[lane.stream]
        lane.condemned = [position for position in lane.condemned if position >= head]
        if lane.suspect_end is not None and lane.suspect_end <= head:
            lane.suspect_end = None

    def salvage(self, found: Collection[int]) -> None:
        """A new spool is made of the chunks that were found: the others are lost, and what was under way."""
        for lane in self.lanes.values():
            self.end_batch(lane)
            lane.condemned, lane.suspect_end = [], None
            for seq in [seq for seq in lane.needs if seq not in found]:
                chunk = self.chunks[seq]
                begun = lane.index if seq == lane.needs[0] else 0
                lost = chunk.events - begun
                lane.count(chunk.day, pending=-lost, damaged=lost)
                lane.index = 0 if seq == lane.needs[0] else lane.index
                lane.needs.remove(seq)
        for seq in found:
            self.chunks[seq].damaged = False

    def end_batch(self, lane: ModelLane) -> None:
        if lane.batch is not None:
            self.ended.add(lane.batch.id)
            lane.batch = None

    def head_events(
        self, lane: ModelLane, *, older_than: int | None = None, wanted_bytes: int | None = None
    ) -> int:
        """How many events retention ends of a lane: whole chunks, and a batch that they begin.

        Eviction ends no more in one step than what lies together.
        """
        events = taken_bytes = 0
        end = None
        for seq in lane.needs:
            chunk = self.chunks[seq]
            if older_than is not None and chunk.age - chunk.missed >= older_than:
                break
            if wanted_bytes is not None and (taken_bytes >= wanted_bytes or end not in {None, chunk.first}):
                break
            end = chunk.first + chunk.events
            events += chunk.events
            taken_bytes += chunk.size
        if events == 0:
            return 0
        events -= lane.index
        batch = 0 if lane.batch is None else lane.batch.events
        return max(events, batch)

    def retire(self, lane: ModelLane, events: int, fate: str) -> None:
        """Retention ends events of a lane."""
        if lane.batch is not None:
            for position in range(lane.batch.first, lane.batch.last + 1):
                lane.count(self._day(lane, position), outcome_unknown=1)
        self.end_batch(lane)
        self.finish(lane, events, fate)

    def _day(self, lane: ModelLane, position: int) -> int:
        chunks = (self.chunks[seq] for seq in lane.needs)
        return next(chunk.day for chunk in chunks if chunk.first <= position < chunk.first + chunk.events)
