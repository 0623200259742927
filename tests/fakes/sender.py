"""A sender that answers as it is told, and remembers what it was given."""

from __future__ import annotations

import gzip
import hashlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import trio
from fakes.forwarding import inline

from collector.core.policy import policy_for
from collector.core.reply import Reply
from collector.core.verdict import Delivered, Outcome, judge, judge_failure
from collector.forwarder.packing import Packed, Packer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from collector.core.batch import SealedBatch
    from collector.core.failure import Failure
    from collector.core.verdict import Verdict
    from collector.forwarder.blocking import Runner
    from collector.forwarder.packing import Body, Packing

    Step = Verdict | Outcome | Callable[[SealedBatch, bytes], "Verdict | Outcome | Awaitable[Outcome]"]


@dataclass(frozen=True)
class Attempt:
    """One call: when it came (seconds on trio's clock), and what was to be sent."""

    at: float
    batch: SealedBatch
    body: bytes

    @property
    def positions(self) -> list[int]:
        return list(range(self.batch.first, self.batch.last + 1))

    @property
    def numbers(self) -> list[int]:
        """The field `n` of each event."""
        return [event["n"] for event in msgspec.json.decode(self.body)]


class ScriptedSender:
    """Answers attempts by the steps of a script, then always by `otherwise`.

    A step is a verdict, an outcome, or a function of (batch, body) that gives one.

    Attributes:
        problems: what no lane may do and one did. Raised here they would only halt the lane.
    """

    def __init__(self, *script: Step, otherwise: Step | None = None) -> None:
        self.script = deque(script)
        self.otherwise = otherwise or Delivered()
        self.attempts: list[Attempt] = []
        self.taken: dict[str, list[int]] = {}
        self.under_way: set[int] = set()
        self.problems: list[str] = []

    closed = False

    async def aclose(self) -> None:
        assert not self.under_way, "closed in use"
        self.closed = True

    async def attempt(self, batch: SealedBatch, body: bytes) -> Outcome:
        if batch.lane in self.under_way:
            self.problems.append(f"lane {batch.lane_name} has two batches outstanding")
        self.under_way.add(batch.lane)
        try:
            attempt = Attempt(trio.current_time(), batch, body)
            self.attempts.append(attempt)
            step = self.script.popleft() if self.script else self.otherwise
            result = step(batch, body) if callable(step) else step
            if hasattr(result, "__await__"):
                result = await result
            else:
                await trio.lowlevel.checkpoint()
            outcome = result if isinstance(result, Outcome) else Outcome(result, wrote_body=True)
            if isinstance(outcome.verdict, Delivered):
                self.taken.setdefault(batch.lane_name, []).extend(attempt.positions)
            return outcome
        finally:
            self.under_way.discard(batch.lane)

    @property
    def last(self) -> Attempt:
        return self.attempts[-1]

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """First and last position of each attempt."""
        return [(attempt.batch.first, attempt.batch.last) for attempt in self.attempts]

    @property
    def times(self) -> list[float]:
        return [round(attempt.at, 3) for attempt in self.attempts]


class PackingSender(ScriptedSender):
    """One that takes large bodies packed as they were made, and looks at what was packed.

    Attributes:
        packed: bytes on the wire of each body that came so.
    """

    packs = True

    def __init__(self, *script: Step, otherwise: Step | None = None, run: Runner = inline) -> None:
        super().__init__(*script, otherwise=otherwise)
        self.packed: list[int] = []
        self._run = run

    def packing(self) -> Packing:
        return Packer().begin(self._run)

    async def attempt(self, batch: SealedBatch, body: Body) -> Outcome:
        if isinstance(body, Packed):
            self.packed.append(len(body.content))
            text = gzip.decompress(body.content)
            if len(text) != len(body):
                self.problems.append(f"batch {batch.id} says that it has {len(body)} bytes")
            body = text
        if hashlib.sha256(body).digest() != batch.body_sha256:
            self.problems.append(f"batch {batch.id} is not what was sealed")
        return await super().attempt(batch, body)


def answer(status: int, body: bytes = b"", *, retry_after: str | None = None, content_type: str = "") -> Step:
    """A step: the upstream answers so, and the answer is judged as the real sender would."""

    def step(batch: SealedBatch, _body: bytes) -> Verdict:
        reply = Reply(status=status, content_type=content_type, body=body, retry_after=retry_after)
        return judge(reply, policy=policy_for(batch.dialect), events=batch.events, now_ms=0)

    return step


def no_answer(failure: Failure, *, wrote_body: bool = False) -> Outcome:
    """A step: no answer comes."""
    return Outcome(judge_failure(failure, "as told"), wrote_body=wrote_body)


def after(seconds: float, verdict: Verdict) -> Step:
    """A step that takes its time."""

    async def slowly(_batch: SealedBatch, _body: bytes) -> Outcome:
        await trio.sleep(seconds)
        return Outcome(verdict, wrote_body=True)

    return slowly


def naming_some(seeds: list[int]) -> Step:
    """A step: the answer names some of the batch's events as bad."""

    def step(batch: SealedBatch, body: bytes) -> Verdict:
        bad = {seed % batch.events for seed in seeds}
        told = ["bad" if index in bad else "OK" for index in range(batch.events)]
        return answer(400, msgspec.json.encode(told))(batch, body)

    return step


def refusing(*bad: int, status: int = 400, naming: bool = False) -> Step:
    """A step: batches that hold a bad position are refused, all others are taken."""

    def step(batch: SealedBatch, body: bytes) -> Verdict:
        faults = {position for position in bad if batch.first <= position <= batch.last}
        if not faults:
            return Delivered()
        told = [
            f"event {position} is bad" if position in faults else "OK"
            for position in range(batch.first, batch.last + 1)
        ]
        return answer(status, msgspec.json.encode(told) if naming else b"")(batch, body)

    return step


def too_large(limit: int) -> Step:
    """A step: bodies over `limit` bytes are too large."""

    def step(batch: SealedBatch, body: bytes) -> Verdict:
        return answer(413 if len(body) > limit else 200)(batch, body)

    return step
