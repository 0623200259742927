"""A lane's standing: whether it delivers, what was told of it last, and that commits are insisted on."""

from __future__ import annotations

import math
import sqlite3
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import trio

from collector.errors import SpoolDamaged, SpoolUnavailable
from collector.forwarder.tasks import InconsistentError
from collector.spool import lanes

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.core.batch import SealedBatch
    from collector.core.verdict import Blocked, Rejected, Retry, Split
    from collector.forwarder.surroundings import Surroundings
    from collector.forwarder.tasks import Replaced
    from collector.spool.read import Lane
    from collector.spool.settle import DeadLetter, LaneState

NARROWING_TOLD_EACH = 60.0
"""Seconds: a lane may have to find a bad event many times a second, and each is told as a dead letter."""

MOVED_PAUSE = 1.0
"""Seconds that a lane pauses where it was moved under way, as retention does, and nothing was kept: rare,
and a lane that nothing moves may not spin."""

SPOOL_RETRY = 1.0
"""Seconds until something that the disk refused is tried again."""


class Standing:
    """One lane's.

    Attributes:
        lane: its id.
        healthy: whether it is known to deliver.
        hurried: whether it was told, since its attempt began, not to wait after it.
        in_doubt: whether it was cut off while it waited for a commit, which may come yet.
        log: its logger.
    """

    def __init__(self, lane: int, name: str, around: Surroundings) -> None:
        self.lane = lane
        self.healthy = False
        self.hurried = False
        self.in_doubt = False
        self.log = structlog.get_logger().bind(lane=name)
        self._around = around
        self._told: tuple[str, str] = ("", "")
        self._narrowing_told = -math.inf

    def recall(self, lane: Lane) -> None:
        """Take up the state that the lane had before a restart; what is not well is told once more."""
        self.healthy = lane.state == "healthy"
        if self.healthy:
            self._told = ("healthy", "")

    def tells(self, state: LaneState, cause: str) -> bool:
        """Come to a state; returns whether that is a change, worth a line in the log."""
        self.healthy = state == "healthy"
        changed = (state, cause) != self._told
        self._told = (state, cause)
        return changed

    def recovers(self, *, narrows: bool) -> None:
        """The upstream took events, or answers again; log that the lane is well, where that is news.

        Args:
            narrows: whether there are suspects left: until there are none, narrowing stays what was told.
        """
        if narrows and self._told[0] in {"healthy", "narrowing"}:
            self.healthy = True
        elif self.tells("healthy", ""):
            self.log.info("lane_healthy")

    def ends_narrowing(self, *, narrows: bool) -> None:
        """What was suspect died; log that no more is, where it was told that there is."""
        if not narrows and self._told[0] == "narrowing":
            self.recovers(narrows=False)

    def tell_answer(self, batch: SealedBatch, verdict: Retry | Blocked | Split | Rejected) -> None:
        """Log the upstream's own words, for whoever looks closely: they may repeat what is in an event."""
        if verdict.excerpt:
            self.log.debug("upstream_said", batch=batch.id, reason=verdict.reason, answer=verdict.excerpt)

    def tell_split(self, batch: SealedBatch, *, reason: str, limit: int | None, is_news: bool) -> None:
        """Log that a batch ended for smaller ones: where it is news, once in a while for all to see."""
        now = trio.current_time()
        told = {"reason": reason, "events": batch.events, "limit": limit}
        if is_news and now - self._narrowing_told >= NARROWING_TOLD_EACH:
            self._narrowing_told = now
            self._told = ("narrowing", "")
            self.log.info("lane_narrowing", **told)
        else:
            self.log.debug("batch_split", batch=batch.id, **told)

    def tell_buried(self, letter: DeadLetter) -> None:
        """Log a dead letter, without the upstream's words: they may repeat what is in the event."""
        self.log.warning("dead_letter", position=letter.position, status=letter.status)

    def tell_replaced(self, replaced: Replaced | None) -> None:
        """Log a batch that could not be made again, if there was one."""
        if replaced is not None:
            self.log.error("batch_unrenderable", batch=replaced.batch.id, reason=replaced.reason)

    async def persist(self, work: Callable[[sqlite3.Connection], object]) -> bool:
        """Commit, and if the disk refuses, again until it does not.

        Returns:
            False where the work said so: what it was for had changed meanwhile.
        """
        told = False
        while True:
            self.in_doubt = True
            try:
                kept = await self._around.spool.write(work) is not False
            except SpoolUnavailable as error:
                self.in_doubt = False
                reason = error.reason
            else:
                self.in_doubt = False
                if told:
                    self.log.info("settling_goes_on")
                return kept
            if not told:
                self.log.error("settling_waits", reason=reason)
            told = True
            await trio.sleep(SPOOL_RETRY)

    async def halt(self, error: Exception) -> float:
        """Show the lane as blocked, which something unforeseen stopped.

        Returns:
            Seconds until it is worth another try.
        """
        wait = self._around.probe_interval()
        now = self._around.chances.wall_ms()
        reason = _told(error)
        self._tell_halted(error)
        next_attempt_at = now + round(wait * 1000)
        try:
            await self.persist(
                partial(lanes.halted, lane=self.lane, reason=reason, next_attempt_at=next_attempt_at, now=now)
            )
        except Exception as worse:  # noqa: BLE001 (the lane must go on trying, and the others with it)
            self._tell_halted(worse)
        return wait

    def _tell_halted(self, error: Exception) -> None:
        reason = _told(error)
        if self.tells("blocked", reason):
            self.log.error("lane_halted", reason=reason, where=_where(error))


def _told(error: Exception) -> str:
    """What stopped a lane, without a text that may hold an event or a secret."""
    match error:
        case InconsistentError():
            return f"the spool contradicts itself: {error}"
        case SpoolDamaged():
            return f"the spool is damaged: {error.cause}"
        case sqlite3.Error():
            return f"the spool fails: {error}"
        case _:
            return f"a defect of Waystation: {type(error).__name__} in {_where(error).rpartition(' > ')[2]}"


def _where(error: Exception) -> str:
    """The innermost places that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
