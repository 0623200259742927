"""How a spool is opened, and what it has done since."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from collector.core.days import MS_A_DAY
from collector.core.histogram import COUNTS, LATENCY_SECONDS, Histogram
from collector.spool.admission import Limits
from collector.spool.space import BALLAST_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from collector.spool.upstreams import Wanted


@dataclass(frozen=True, slots=True)
class LetterBounds:
    """How many dead letters are kept, and for how long; those beyond go, the oldest first.

    Attributes:
        max_count: of all lanes together.
        max_bytes: of their events and reasons.
        max_age: ms on the age clock, since they died.
    """

    max_count: int = 10_000
    max_bytes: int = 64 * 1024 * 1024
    max_age: int = 30 * MS_A_DAY


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """How a spool is opened.

    Attributes:
        directory: where its files are.
        upstreams: those of the configuration.
        max_bytes: the quota.
        max_age: ms on the age clock.
        commit_interval: seconds.
        patience: seconds that a request may wait for room before it is refused.
        ballast_bytes: what is kept for a full disk; 0 for none.
        threads: False to do all work inline, for tests under a mock clock.
        letters: how many dead letters are kept.
    """

    directory: Path
    upstreams: Sequence[Wanted]
    max_bytes: int = 1 << 30
    max_age: int = 30 * MS_A_DAY
    when_full: Literal["reject", "drop-oldest"] = "reject"
    durability: Literal["full", "normal"] = "full"
    commit_interval: float = 0.0
    patience: float = 0.0
    ballast_bytes: int = BALLAST_BYTES
    threads: bool = True
    letters: LetterBounds = LetterBounds()

    def takers(self, dialect: str, product: str) -> list[str]:
        """The names of the upstreams that take a dialect and product."""
        return [upstream.name for upstream in self.upstreams if upstream.takes(dialect, product)]

    @property
    def limits(self) -> Limits:
        """The bytes that the spool may take."""
        bounds = {wanted.name: wanted.max_bytes for wanted in self.upstreams if wanted.max_bytes is not None}
        return Limits(self.max_bytes, bounds)


@dataclass(slots=True)
class Counters:
    """What the spool has done since it was opened.

    Attributes:
        failed_commits: groups that the disk refused.
        ended: events that age or quota ended, by fate and lane name.
        shortages: how often the disk was found full.
        refused: requests for which there was no room, by the name of the lane that is in the way.
        letters_ended: dead letters that their bounds ended, by lane name.
        commit_seconds: of each group, from its first insert to the end of its commit.
        sync_seconds: of each group, the COMMIT alone: its log is written and synced, and now and then
            checkpointed.
        group_requests: the requests of each group that had any.
    """

    commits: int = 0
    failed_commits: int = 0
    shortages: int = 0
    ended: dict[tuple[str, str], int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    letters_ended: dict[str, int] = field(default_factory=dict)
    commit_seconds: Histogram = field(default_factory=lambda: Histogram(LATENCY_SECONDS))
    sync_seconds: Histogram = field(default_factory=lambda: Histogram(LATENCY_SECONDS))
    group_requests: Histogram = field(default_factory=lambda: Histogram(COUNTS))

    def count_commit(self, requests: int, seconds: float, sync_seconds: float) -> None:
        """Count one commit, with its requests and what it took."""
        self.commits += 1
        if seconds:  # one on a full disk goes in parts, which nobody times
            self.commit_seconds.observe(seconds)
            self.sync_seconds.observe(sync_seconds)
        if requests:
            self.group_requests.observe(requests)

    def add(self, fate: str, ended: dict[str, int]) -> None:
        """Count events that retention ended."""
        for lane, events in ended.items():
            self.ended[fate, lane] = self.ended.get((fate, lane), 0) + events

    def add_refused(self, refused: dict[str, int]) -> None:
        """Count requests for which there was no room."""
        for lane, requests in refused.items():
            self.refused[lane] = self.refused.get(lane, 0) + requests

    def add_letters(self, ended: dict[str, int]) -> None:
        """Count dead letters that their bounds ended."""
        for lane, letters in ended.items():
            self.letters_ended[lane] = self.letters_ended.get(lane, 0) + letters
