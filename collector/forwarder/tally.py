"""What the attempts of one upstream came to, counted since the start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.core.histogram import COUNTS, DELAY_SECONDS, LATENCY_SECONDS, SIZES, Histogram

if TYPE_CHECKING:
    from collector.core.batch import Options, Run
    from collector.core.verdict import Outcome


@dataclass(slots=True)
class Tally:
    """One upstream's.

    Attributes:
        attempts: by verdict, in lower case.
        attempt_seconds: from the first byte to the verdict.
        batch_events: events of each batch that was tried.
        body_bytes: of each of which anything went out, before any Content-Encoding.
        wire_bytes: that went out of it, after any Content-Encoding.
        delay_seconds: of each delivered event, from its acceptance to the upstream's answer.
    """

    attempts: dict[str, int] = field(default_factory=dict)
    attempt_seconds: Histogram = field(default_factory=lambda: Histogram(LATENCY_SECONDS))
    batch_events: Histogram = field(default_factory=lambda: Histogram(COUNTS))
    body_bytes: Histogram = field(default_factory=lambda: Histogram(SIZES))
    wire_bytes: Histogram = field(default_factory=lambda: Histogram(SIZES))
    delay_seconds: Histogram = field(default_factory=lambda: Histogram(DELAY_SECONDS))

    def attempted(self, outcome: Outcome, *, events: int, body_bytes: int, seconds: float) -> None:
        """Count one attempt.

        Args:
            outcome: what came of it.
            events: of the batch.
            body_bytes: of the batch as rendered.
            seconds: that it took.
        """
        verdict = type(outcome.verdict).__name__.lower()
        self.attempts[verdict] = self.attempts.get(verdict, 0) + 1
        self.attempt_seconds.observe(seconds)
        self.batch_events.observe(events)
        if outcome.wrote_body:
            self.body_bytes.observe(body_bytes)
            # Files do not count what they write; it is the body.
            self.wire_bytes.observe(outcome.sent_bytes or body_bytes)

    def delivered(self, run: Run, options: Options, *, now_ms: int) -> None:
        """Count the events of a delivered batch, by how long they took to arrive.

        Args:
            run: the events.
            options: say when they were accepted.
            now_ms: ms since 1970.
        """
        for piece in run.pieces:
            waited = max(0, now_ms - options.received_at(piece.chunk)) / 1000
            self.delay_seconds.observe(waited, times=piece.count)
