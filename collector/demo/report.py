"""What was acknowledged, held against what arrived: pure, so that it can be shown to find faults.

For each dialect:

    lost          acknowledged, and never arrived
    altered       arrived, but not as it was posted to the byte, the collector's stamps taken off
    out of order  a position not behind the one before it; or an event behind one that was posted
                  after it had been acknowledged; or behind a later one of its own source
    sent twice    taken before; recognised by a key that came with the same positions and bytes
"""

from __future__ import annotations

import operator
import re
from collections import deque
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from collector.demo.arrived import LOST
from collector.demo.payloads import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from collector.demo.arrived import Arrived, Repeat, Taken
    from collector.demo.payloads import Dialect, Event

DIALECTS: tuple[Dialect, ...] = ("samsara", "traintracks")

_STAMPS = re.compile(
    r'(?:,"receivedAt":\d{13})?(?:,"publishedAt":\d{13})?(?:,"serverTimestamp":"[0-9T:.+-]{32}")?\}\Z'
)
"""What a collector appends to an event, as the two dialects' documents name it."""

_EXCERPT = 120


@dataclass(frozen=True, slots=True)
class Post:
    """A request that was sent to the daemon.

    Attributes:
        begun: when it was sent, on a clock that ticks at every sending and every answer.
        answered: when its success came, on the same clock; None where no answer came: its
            events may arrive or not.
    """

    dialect: Dialect
    events: tuple[Event, ...]
    begun: int
    answered: int | None


@dataclass(frozen=True, slots=True)
class Balance:
    """The daemon's own ledger, summed over the days of one dialect's lane."""

    accepted: int = 0
    pending: int = 0
    delivered: int = 0
    dead: int = 0
    gone: int = 0


@dataclass(slots=True)
class Count:
    """Events of one dialect, `batches` apart."""

    acknowledged: int = 0
    arrived: int = 0
    lost: int = 0
    altered: int = 0
    out_of_order: int = 0
    again: int = 0
    again_batches: int = 0
    unrecognised: int = 0
    unanswered: int = 0
    unanswered_arrived: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(*map(operator.add, astuple(self), astuple(other)))


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it.

    Attributes:
        counts: by dialect.
        ledger: the daemon's, by dialect.
        answers: the upstream's, by status or `LOST`.
        faults: everything that is wrong, in words; nothing, if all is as promised.
    """

    counts: dict[Dialect, Count]
    ledger: dict[Dialect, Balance]
    answers: dict[str, int]
    faults: list[str]

    @property
    def total(self) -> Count:
        """Of both dialects."""
        return sum(self.counts.values(), Count())


def examine(
    posts: Iterable[Post], arrived: Arrived, ledger: Mapping[str, Balance], troubles: Mapping[str, int]
) -> Report:
    """Hold what was acknowledged against what arrived, and against the daemon's ledger.

    Args:
        posts: all that were sent, in any order.
        arrived: as the receiver tells it.
        ledger: the daemon's, by dialect.
        troubles: how many answers of each kind were to be met at the least.
    """
    everything = list(posts)
    faults = list(arrived.problems)
    counts: dict[Dialect, Count] = {}
    for dialect in DIALECTS:
        check = _Check([post for post in everything if post.dialect == dialect])
        for taken in arrived.taken:
            if _dialect(taken.lane) == dialect:
                check.read(taken)
        check.count_lost()
        check.count_repeats([repeat for repeat in arrived.repeats if _dialect(repeat.lane) == dialect])
        check.compare(ledger.get(dialect, Balance()))
        counts[dialect] = check.count
        faults += [f"{dialect}: {fault}" for fault in check.faults]
    faults += [
        f"{taken.lane}: no such lane" for taken in arrived.taken if _dialect(taken.lane) not in DIALECTS
    ]
    for answer, wanted in troubles.items():
        if (met := arrived.answers.get(answer, 0)) < wanted:
            faults.append(f"the upstream answered {met} times with {answer}, and not {wanted} times")
    report = Report(
        counts, {dialect: ledger.get(dialect, Balance()) for dialect in DIALECTS}, arrived.answers, faults
    )
    lost = arrived.answers.get(LOST, 0)
    if report.total.again_batches < lost:
        faults.append(f"{lost} answers were lost, and {report.total.again_batches} batches came again")
    return report


def _dialect(lane: str) -> str:
    return lane.split("/")[1] if "/" in lane else ""


class _Check:
    """One dialect's events; read the lanes first."""

    def __init__(self, posts: Sequence[Post]) -> None:
        self.count = Count()
        self.faults: list[str] = []
        self._taken = 0
        self._posted: dict[str, deque[tuple[Post, Event]]] = {}
        self._named: dict[tuple[str, int], str] = {}
        self._latest_begun = -1
        self._latest_number: dict[str, int] = {}
        for post in sorted(posts, key=lambda post: post.begun):
            if post.answered is None:
                self.count.unanswered += len(post.events)
            else:
                self.count.acknowledged += len(post.events)
            for event in post.events:
                text = event.text.decode()
                self._posted.setdefault(text, deque()).append((post, event))
                self._named[event.source, event.number] = text

    def read(self, taken: Taken) -> None:
        """Look at a stream's events in the order in which they came."""
        highest = -1
        for position, text in zip(taken.positions, taken.events, strict=True):
            self._taken += 1
            found = self._match(position, text)
            wrong = "" if position > highest else f"came after {highest}"
            if found is not None:
                wrong = wrong or self._misplaced(*found)
            if wrong:
                self.count.out_of_order += 1
                self.faults.append(f"out of order: position {position} {wrong}")
            highest = max(highest, position)
        missing = highest + 1 - len(set(taken.positions))
        if missing:
            self.faults.append(f"{missing} of the positions up to {highest} never came")

    def _match(self, position: int, text: str) -> tuple[Post, Event] | None:
        """Find the post of an event, and count it."""
        bare = _STAMPS.sub("}", text)
        waiting = self._posted.get(bare)
        if waiting:
            post, event = waiting.popleft()
            if post.answered is None:
                self.count.unanswered_arrived += 1
            else:
                self.count.arrived += 1
            return post, event
        if waiting is not None:
            self.count.unrecognised += 1
            self.faults.append(f"sent twice, as if it were new: position {position}: {bare[:_EXCERPT]}")
            return None
        self.count.altered += 1
        self.faults.append(f"altered, or never posted: position {position}: {bare[:_EXCERPT]}")
        name = name_of(text)
        original = self._posted.get(self._named.get(name, "")) if name is not None else None
        return original.popleft() if original else None

    def _misplaced(self, post: Post, event: Event) -> str:
        """Say why an event should have come earlier, if it should."""
        latest_begun = self._latest_begun
        latest_number = self._latest_number.get(event.source, -1)
        self._latest_begun = max(latest_begun, post.begun)
        self._latest_number[event.source] = max(latest_number, event.number)
        if event.number <= latest_number:
            return f"is {event.source}'s event {event.number}, and came after their {latest_number}"
        if post.answered is not None and post.answered < latest_begun:
            return "came after an event that was posted when this one had been acknowledged"
        return ""

    def count_lost(self) -> None:
        """Count what is left."""
        for text, waiting in self._posted.items():
            for post, _ in waiting:
                if post.answered is not None:
                    self.count.lost += 1
                    self.faults.append(f"acknowledged and lost: {text[:_EXCERPT]}")

    def count_repeats(self, repeats: Iterable[Repeat]) -> None:
        """Count what was sent twice."""
        for repeat in repeats:
            if repeat.recognised:
                self.count.again += repeat.events
                self.count.again_batches += 1
            else:
                self.count.unrecognised += repeat.events
                self.faults.append(
                    f"sent twice, not recognised by its key: {repeat.key}, {repeat.events} events"
                )

    def compare(self, ledger: Balance) -> None:
        """See whether the daemon knows what it did."""
        if ledger != Balance(accepted=self._taken, delivered=self._taken):
            self.faults.append(f"the daemon's ledger says {ledger}; {self._taken} events were delivered")
