"""What a lane makes of an answer that refuses events: it narrows down on those at fault, and buries them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from collector.core.narrowing import bad_deploy, limit_after_too_large
from collector.forwarder.letters import letter_of
from collector.forwarder.standing import MOVED_PAUSE
from collector.spool import lanes, settle
from collector.spool.passage import Passage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from collector.core.verdict import Rejected, Split
    from collector.forwarder.standing import Standing
    from collector.forwarder.surroundings import Surroundings
    from collector.forwarder.tasks import Ready

TOO_LARGE = 413


def bad_deploy_reason(task: Ready, verdict: Rejected, *, limit: float) -> str:
    """Why an event that was refused alone is kept, and not buried; empty where it is not kept.

    Args:
        task: the batch that was refused.
        verdict: on it.
        limit: the share of refused events at which the upstream is held to be at fault.
    """
    lane = task.lane
    rejected, judged = lane.rejected + 1, lane.judged + 1
    if task.batch.events > 1 or not bad_deploy(judged=judged, rejected=rejected, limit=limit):
        return ""
    return (
        f"{verdict.reason}: {rejected} of the last {judged} events were refused,"
        f" over reject_limit {limit:g}; the upstream or the apps must change"
    )


class Narrowing:
    """Settles those of one lane's attempts whose answer was about the events.

    Each of its ways to settle returns the seconds to wait before the lane goes on.
    """

    def __init__(self, standing: Standing, around: Surroundings) -> None:
        self._standing = standing
        self._around = around

    async def suspect(self, task: Ready, verdict: Split | Rejected) -> float:
        """End a batch that is too much as a whole, or that holds something unknown; a part of it is next."""
        known = task.lane.learned_limit
        too_large = verdict.status == TOO_LARGE
        limit = limit_after_too_large(len(task.body)) if too_large else known
        means = "smaller batches are tried" if too_large else "halves are tried, to find what is refused"
        suspected = partial(
            settle.suspected,
            batch=task.batch,
            learned_limit=limit,
            reason=f"{verdict.reason}; {means}",
            now=self._around.chances.wall_ms(),
        )
        kept = await self._persist(task, suspected)
        # A limit that is known is tried again and again, by a little more each time.
        self._standing.tell_split(
            task.batch, reason=verdict.reason, limit=limit, is_news=not too_large or known is None
        )
        return 0.0 if kept else MOVED_PAUSE

    async def rejected(self, task: Ready, verdict: Rejected) -> float:
        """Bury the one event of a batch, or condemn those that the answer names, or look for them."""
        batch = task.batch
        if batch.events == 1:
            return await self._bury(task, verdict)
        if not verdict.named:
            return await self.suspect(task, verdict)
        named = [
            settle.Condemned(batch.first + index, wrong, verdict.status) for index, wrong in verdict.named
        ]
        kept = await self._persist(task, partial(settle.condemned, batch=batch, named=named))
        return 0.0 if kept else MOVED_PAUSE

    async def _bury(self, task: Ready, verdict: Rejected) -> float:
        lane, batch = task.lane, task.batch
        wrong = verdict.named[0][1] if verdict.named else verdict.reason
        letter = letter_of(task.run, reason=wrong, status=verdict.status, answer=verdict.excerpt)
        kept = await self._persist(
            task,
            partial(
                settle.buried,
                lane=lane.id,
                letter=letter,
                passage=Passage.of(task.run),
                epoch=batch.epoch,
                batch=batch,
                now=self._around.chances.wall_ms(),
            ),
        )
        if not kept:
            return MOVED_PAUSE
        self._standing.tell_buried(letter)
        if lane.state != "new":
            self._standing.ends_narrowing(narrows=task.leaves_suspects)
        return 0.0

    async def _persist(self, task: Ready, work: Callable[[sqlite3.Connection], bool]) -> bool:
        """Keep what an answer means for its events; the lane no longer waits for its upstream."""
        standing, now = self._standing, self._around.chances.wall_ms()
        waited = False

        def both(connection: sqlite3.Connection) -> bool:
            nonlocal waited
            kept = work(connection)
            if kept:
                waited = lanes.answered(connection, standing.lane, now=now)
            return kept

        kept = await standing.persist(both)
        if kept and waited:
            standing.recovers(narrows=task.leaves_suspects)
        elif kept:
            standing.healthy = True
        return kept
