"""A lane's task: seal, render, send, settle, again; one batch outstanding.

All that must survive a death is in the spool. The task holds no event between two steps: a
batch that has to wait is rendered again for its next attempt, so that a thousand lanes
of a dead upstream cost no memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, assert_never

import structlog
import trio

from collector.core.backoff import next_delay
from collector.core.narrowing import bad_deploy, limit_after_delivery, limit_after_too_large
from collector.core.reply import MAX_RETRY_AFTER
from collector.core.verdict import Blocked, Delivered, Rejected, Retry, Split, escalate
from collector.errors import SpoolUnavailable
from collector.forwarder import prepare as tasks
from collector.spool import read, settle
from collector.spool.upstreams import resume

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable

    from collector.config.model import Upstream
    from collector.core.batch import SealedBatch
    from collector.core.verdict import Outcome, Verdict
    from collector.forwarder.breaker import Breaker
    from collector.spool.spool import Spool

SPOOL_RETRY = 1.0
"""Seconds until a settling that the disk refused is tried again."""

TOO_LARGE = 413
INTERNAL_SERVER_ERROR = 500


class Sender(Protocol):
    """What carries a batch to an upstream."""

    async def attempt(self, batch: SealedBatch, body: bytes) -> Outcome:
        """Send a batch once; failures are outcomes, not exceptions."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the lanes of one upstream share.

    Attributes:
        wall_ms: wall time, ms since 1970.
        chance: a number from 0 up to 1.
        batch_id: 32 hex digits, never the same twice.
    """

    upstream: Upstream
    sender: Sender
    breaker: Breaker
    spool: Spool
    wall_ms: Callable[[], int]
    chance: Callable[[], float]
    batch_id: Callable[[], str]


class LaneTask:
    """Forwards one lane until it is stopped."""

    def __init__(self, lane: int, name: str, around: Surroundings) -> None:
        self._lane = lane
        self._around = around
        self._log = structlog.get_logger().bind(lane=name)
        self._grown = trio.Event()
        self._resting = trio.CancelScope()
        self._stopping = False
        self._healthy = False
        self._told = ("", "")
        self._replaces: SealedBatch | None = None

    def grown(self) -> None:
        """Events were accepted for this lane."""
        self._grown.set()

    def hurry(self) -> None:
        """End a wait for the next attempt."""
        self._resting.cancel()

    def stop(self) -> None:
        """Begin no further attempt; one under way goes on."""
        self._stopping = True
        self._resting.cancel()

    async def run(self) -> None:
        """Forward until stopped or cancelled."""
        await self._rest(partial(trio.sleep, await self._remaining_backoff()))
        while not self._stopping:
            self._grown = trio.Event()
            wait = await self._turn()
            if wait is None:
                await self._rest(self._grown.wait)
            elif wait > 0:
                await self._rest(partial(trio.sleep, wait))

    async def _rest(self, until: Callable[[], Awaitable[object]]) -> None:
        """Wait, unless stopped or hurried."""
        if self._stopping:
            return
        with trio.CancelScope() as self._resting:
            await until()

    async def _remaining_backoff(self) -> float:
        """Seconds that a lane which was retrying before a restart has still to wait."""
        lane = await self._around.spool.read(lambda connection: read.lane(connection, self._lane))
        self._healthy = lane.state == "healthy"
        self._told = (lane.state, lane.reason)
        if lane.state != "retrying":
            return 0.0
        wait: float = (lane.next_attempt_at - self._around.wall_ms()) / 1000
        # The wall clock may have been set meanwhile: never longer than a wait can be.
        return min(max(wait, 0.0), max(self._around.upstream.backoff.max, MAX_RETRY_AFTER))

    async def _turn(self) -> float | None:
        """One step, when the upstream's breaker lets this lane pass.

        Returns:
            Seconds to wait, or None to wait for events.
        """
        breaker = self._around.breaker
        await self._rest(breaker.leave)
        if self._stopping:
            return 0.0
        with breaker.hold(), self._around.spool.flight(self._lane):
            return await self._step()

    async def _step(self) -> float | None:
        around = self._around
        request = tasks.Request(
            lane=self._lane,
            upstream=around.upstream,
            batch_id=around.batch_id(),
            replaces=self._replaces.id if self._replaces else None,
            now=around.wall_ms(),
            healthy=self._healthy,
        )
        task = await around.spool.read(lambda connection: tasks.prepare(connection, request))
        match task:
            case tasks.Idle():
                return task.linger
            case tasks.Resume():
                await self._persist(partial(resume, lane=self._lane))
            case tasks.Unrenderable():
                self._replaces = task.batch
                self._log.error("batch_unrenderable", batch=task.batch.id, reason=task.reason)
            case tasks.Bury():
                await self._bury(task)
            case tasks.Ready():
                return await self._send(task)
            case _:
                assert_never(task)
        return 0.0

    async def _persist(self, work: Callable[[sqlite3.Connection], object]) -> bool:
        """Commit, and if the disk refuses, again until it does; False where it no longer applies."""
        while True:
            try:
                return await self._around.spool.write(work) is not False
            except SpoolUnavailable as error:
                self._log.error("settling_waits", reason=error.reason)
                await trio.sleep(SPOOL_RETRY)

    async def _bury(self, task: tasks.Bury) -> None:
        self._log.warning(
            "dead_letter", position=task.letter.position, reason=task.letter.reason, damaged=task.damaged
        )
        await self._persist(
            partial(
                settle.buried,
                lane=self._lane,
                letter=task.letter,
                passage=task.passage,
                epoch=self._around.spool.epoch.name,
                batch=self._replaces,
                now=self._around.wall_ms(),
                fate="damaged" if task.damaged else "dead",
            )
        )
        self._replaces = None

    async def _send(self, task: tasks.Ready) -> float:
        if task.fresh:
            sealing = partial(_reseal, replaced=self._replaces, batch=task.batch, now=self._around.wall_ms())
            if not await self._persist(sealing):
                return 0.0
            self._replaces = None
        outcome = await self._around.sender.attempt(task.batch, task.body)
        same_500 = task.batch.same_status + 1 if task.batch.last_status == INTERNAL_SERVER_ERROR else 1
        verdict = escalate(outcome.verdict, same_500=same_500, events=task.batch.events)
        return await self._settle(task, outcome, verdict)

    async def _settle(self, task: tasks.Ready, outcome: Outcome, verdict: Verdict) -> float:
        around, batch = self._around, task.batch
        match verdict:
            case Delivered():
                limit = limit_after_delivery(
                    task.lane.learned_limit, size=len(task.body), most=around.upstream.max_batch_bytes
                )
                await self._persist(
                    partial(
                        settle.delivered,
                        batch=batch,
                        run=task.run,
                        settled=outcome.settled,
                        learned_limit=limit,
                        now=around.wall_ms(),
                    )
                )
                around.breaker.close()
                self._tell("healthy", "")
            case Retry():
                wait = next_delay(
                    task.lane.failures + 1,
                    initial=around.upstream.backoff.initial,
                    max_delay=around.upstream.backoff.max,
                    chance=around.chance(),
                    retry_after=verdict.after,
                )
                return await self._postpone(task, verdict, wait)
            case Blocked():
                # Half the interval at least, so that probes neither hurry nor fall in step.
                wait = around.upstream.backoff.max * (0.5 + around.chance() / 2)
                return await self._postpone(task, verdict, wait)
            case Split():
                around.breaker.close()
                await self._suspect(task, verdict)
            case Rejected():
                around.breaker.close()
                return await self._rejected(task, verdict)
            case _:
                assert_never(verdict)
        return 0.0

    async def _postpone(self, task: tasks.Ready, verdict: Retry | Blocked, wait: float) -> float:
        around = self._around
        state: settle.LaneState = "retrying" if isinstance(verdict, Retry) else "blocked"
        now = around.wall_ms()
        await self._persist(
            partial(
                settle.postponed,
                batch=task.batch,
                state=state,
                reason=verdict.reason,
                status=verdict.status or 0,
                next_attempt_at=now + round(wait * 1000),
                now=now,
            )
        )
        shared = verdict.breaker if isinstance(verdict, Retry) else verdict.whole_upstream
        if shared:
            around.breaker.open(verdict.reason, wait=wait)
        else:
            around.breaker.close()
        self._tell(state, verdict.reason)
        return wait

    async def _suspect(self, task: tasks.Ready, verdict: Split | Rejected) -> None:
        limit = task.lane.learned_limit
        if verdict.status == TOO_LARGE:
            limit = limit_after_too_large(len(task.body))
        self._log.info(
            "batch_split", batch=task.batch.id, events=task.batch.events, reason=verdict.reason, limit=limit
        )
        await self._persist(partial(settle.suspected, batch=task.batch, learned_limit=limit))

    async def _rejected(self, task: tasks.Ready, verdict: Rejected) -> float:
        lane, batch, around = task.lane, task.batch, self._around
        if batch.events > 1:
            if not verdict.named:
                await self._suspect(task, verdict)
                return 0.0
            named = [
                settle.Condemned(batch.first + index, f"{verdict.reason}: {wrong}", verdict.status)
                for index, wrong in verdict.named
            ]
            await self._persist(partial(settle.condemned, batch=batch, named=named))
            return 0.0
        limit = around.upstream.reject_limit
        if bad_deploy(judged=lane.judged + 1, rejected=lane.rejected + 1, limit=limit):
            reason = (
                f"{verdict.reason}: {lane.rejected + 1} of the last {lane.judged + 1} events were refused, over"
                f" reject_limit {limit:g}; the upstream or the apps must change"
            )
            wait = around.upstream.backoff.max * (0.5 + around.chance() / 2)
            return await self._postpone(task, Blocked(reason, verdict.status), wait)
        wrong = verdict.named[0][1] if verdict.named else verdict.reason
        letter = tasks.letter_of(task.run, reason=wrong, status=verdict.status, answer=verdict.excerpt)
        self._log.warning("dead_letter", position=letter.position, reason=wrong, damaged=False)
        await self._persist(
            partial(
                settle.buried,
                lane=lane.id,
                letter=letter,
                passage=settle.Passage.of(task.run),
                epoch=batch.epoch,
                batch=batch,
                now=around.wall_ms(),
            )
        )
        return 0.0

    def _tell(self, state: str, reason: str) -> None:
        """Log one line for each change of state."""
        self._healthy = state == "healthy"
        if (state, reason) == self._told:
            return
        self._told = (state, reason)
        if self._healthy:
            self._log.info("lane_healthy")
        else:
            self._log.warning(f"lane_{state}", reason=reason)


def _reseal(
    connection: sqlite3.Connection, *, replaced: SealedBatch | None, batch: SealedBatch, now: int
) -> bool:
    """Seal a batch, in place of one that could not be made again."""
    if replaced is not None:
        settle.unseal(connection, replaced)
    return settle.seal(connection, batch, now=now)
