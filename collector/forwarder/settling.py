"""What a lane makes of an attempt: what is kept of it, how long the lane waits, what is told."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, assert_never

from collector.core.backoff import next_delay
from collector.core.failure import cause_of
from collector.core.narrowing import limit_after_delivery
from collector.core.verdict import Blocked, Delivered, Rejected, Retry, Split, escalate
from collector.forwarder import sizing
from collector.forwarder.narrowing import Narrowing, bad_deploy_reason
from collector.forwarder.prepare import ALL_LATE
from collector.forwarder.sightings import seen_delivered
from collector.forwarder.standing import MOVED_PAUSE
from collector.spool import settle

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from collector.core.batch import SealedBatch
    from collector.core.verdict import Outcome
    from collector.forwarder.standing import Standing
    from collector.forwarder.surroundings import Surroundings
    from collector.forwarder.tasks import Bury, Ready

INTERNAL_SERVER_ERROR = 500


class Settling:
    """Settles one lane's attempts.

    Attributes:
        sealed: the batch that was sealed with the last settling, if one was.
    """

    def __init__(self, standing: Standing, around: Surroundings) -> None:
        self.sealed: Ready | None = None
        self._standing = standing
        self._around = around
        self._narrowing = Narrowing(standing, around)

    async def seal(self, task: Ready) -> bool:
        """Persist a fresh batch, in place of the one that it replaces; False where the lane has moved."""
        now = self._around.chances.wall_ms()
        replaced = None if task.replaced is None else task.replaced.batch
        sealed = await self._standing.persist(partial(_seal, replaced=replaced, batch=task.batch, now=now))
        if sealed:
            self._standing.tell_replaced(task.replaced)
        return sealed

    async def bury(self, task: Bury) -> float:
        """Dead-letter what stands at the lane's cursor; returns seconds to wait."""
        buried = await self._standing.persist(
            partial(
                settle.buried,
                lane=self._standing.lane,
                letter=task.letter,
                passage=task.passage,
                epoch=self._around.spool.epoch.name,
                batch=None if task.replaced is None else task.replaced.batch,
                now=self._around.chances.wall_ms(),
                fate="damaged" if task.damaged else "dead",
            )
        )
        if not buried:
            return MOVED_PAUSE
        self._standing.tell_replaced(task.replaced)
        self._standing.tell_buried(task.letter)
        return 0.0

    async def settle(
        self,
        task: Ready,
        outcome: Outcome,
        *,
        probe: bool,
        took: float = 0.0,
        following: Ready | None = None,
    ) -> float:
        """Keep what an attempt came to.

        Args:
            task: the batch that was attempted.
            outcome: of the attempt.
            probe: as the breaker's passage gave it.
            took: seconds that the attempt took.
            following: the batch behind it, to be sealed in the same commit where it was delivered.

        Returns:
            Seconds to wait before the lane goes on. Where the upstream's breaker opened there is
            nothing to wait for but the breaker.
        """
        batch, breaker = task.batch, self._around.breaker
        self.sealed = None
        sizing.measure(self._around.window, task, outcome)
        same_500 = batch.same_status + 1 if batch.last_status == INTERNAL_SERVER_ERROR else 1
        bury = self._around.upstream.failing_event == "dead-letter"
        verdict = escalate(outcome.verdict, same_500=same_500, events=batch.events, bury=bury)
        if isinstance(verdict, Blocked) and verdict is not outcome.verdict:
            verdict = dataclasses.replace(verdict, reason=f"{verdict.reason}: position {batch.first}")
        if not isinstance(verdict, Delivered):
            self._standing.tell_answer(batch, verdict)
        match verdict:
            case Delivered():
                breaker.close()
                return await self._delivered(task, outcome, following)
            case Retry():
                failures = task.lane.failures + 1
                if verdict.breaker:
                    failures = max(failures, breaker.failures(probe=probe))
                backoff = self._around.upstream.backoff
                wait = next_delay(
                    failures,
                    initial=backoff.initial,
                    max_delay=backoff.max,
                    chance=self._around.chances.chance(),
                    retry_after=verdict.after,
                )
                smaller = sizing.is_too_slow(self._around, task, outcome, took)
                return await self._postpone(
                    task, outcome, verdict, wait, shared=verdict.breaker, probe=probe, smaller=smaller
                )
            case Blocked():
                wait = self._around.probe_interval()
                shared = verdict.whole_upstream
                return await self._postpone(task, outcome, verdict, wait, shared=shared, probe=probe)
            case Split():
                breaker.close()
                return await self._narrowing.suspect(task, verdict)
            case Rejected():
                breaker.close()
                if reason := bad_deploy_reason(task, verdict, limit=self._around.upstream.reject_limit):
                    blocked, wait = Blocked(reason, verdict.status), self._around.probe_interval()
                    return await self._postpone(task, outcome, blocked, wait, shared=False, probe=probe)
                return await self._narrowing.rejected(task, verdict)
            case _:
                assert_never(verdict)

    async def _delivered(self, task: Ready, outcome: Outcome, following: Ready | None) -> float:
        limit = limit_after_delivery(
            task.lane.learned_limit, size=len(task.body), most=self._around.upstream.max_batch_bytes
        )
        now_ms = self._around.chances.wall_ms()

        work: Callable[[sqlite3.Connection], bool] = partial(
            settle.delivered,
            batch=task.batch,
            run=task.run,
            settled=outcome.settled,
            learned_limit=limit,
            now=now_ms,
        )
        if following is not None:
            work = partial(self._go_on, delivered=work, following=following, now=now_ms)
        kept = await self._standing.persist(work)
        if not kept:
            return MOVED_PAUSE
        self._around.tally.delivered(task.run, task.batch.options, now_ms=now_ms)
        if self._around.tap.watchers:
            self._around.tap.tell(seen_delivered(task.batch, task.run, now_ms=now_ms))
        self._standing.recovers(narrows=task.leaves_suspects)
        return 0.0

    def _go_on(
        self,
        connection: sqlite3.Connection,
        *,
        delivered: Callable[[sqlite3.Connection], bool],
        following: Ready,
        now: int,
    ) -> bool:
        """Settle a delivered batch, and seal the one behind it; a lane that has moved on seals nothing."""
        self.sealed = None  # where the disk refused it before
        kept = delivered(connection)
        if kept and settle.seal(connection, following.batch, now=now):
            self.sealed = following
        return kept

    async def _postpone(
        self,
        task: Ready,
        outcome: Outcome,
        verdict: Retry | Blocked,
        wait: float,
        *,
        shared: bool,
        probe: bool,
        smaller: bool = False,
    ) -> float:
        """Keep the batch for later, or, where `smaller` asks for it, its events for a smaller one.

        `shared` is what concerns the upstream as a whole.
        """
        breaker = self._around.breaker
        if self._standing.hurried:
            wait = 0.0
        if shared:
            breaker.open(verdict.reason, wait=wait, probe=probe)
        elif verdict.status is not None:
            # Whatever ails this lane, the upstream answers. What never got there says nothing of it.
            breaker.close()
        state: settle.LaneState = "retrying" if isinstance(verdict, Retry) else "blocked"
        now = self._around.chances.wall_ms()
        postponed = partial(
            settle.postponed,
            batch=task.batch,
            state=state,
            reason=verdict.reason,
            status=verdict.status or 0,
            next_attempt_at=now + round(wait * 1000),
            now=now,
        )
        unseal = task.batch if smaller or _worth_resealing(task, outcome) else None
        kept = await self._standing.persist(partial(_postpone, postponed=postponed, unseal=unseal))
        # A body's size, or a proxy's words, may differ each time.
        if self._standing.tells(state, cause_of(verdict.reason)):
            event = "lane_blocked" if state == "blocked" else "lane_retrying"
            self._standing.log.warning(event, reason=verdict.reason)
        if not kept:
            return MOVED_PAUSE
        return 0.0 if shared else wait


def _worth_resealing(task: Ready, outcome: Outcome) -> bool:
    """Whether a batch that nobody has seen a byte of should become one of data from the past."""
    late_before = task.batch.options.late_before
    return task.fresh and not outcome.wrote_body and late_before is not None and late_before != ALL_LATE


def _seal(
    connection: sqlite3.Connection, *, replaced: SealedBatch | None, batch: SealedBatch, now: int
) -> bool:
    if replaced is not None:
        settle.unseal(connection, replaced)
    return settle.seal(connection, batch, now=now)


def _postpone(
    connection: sqlite3.Connection,
    *,
    postponed: Callable[[sqlite3.Connection], bool],
    unseal: SealedBatch | None,
) -> bool:
    kept = postponed(connection)
    if unseal is not None:
        settle.unseal(connection, unseal)
    return kept
