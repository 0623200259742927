"""A lane's task: prepare, seal, send, settle, again; one batch outstanding.

All that must survive a death is in the spool. The task holds no event between two steps: a
batch that has to wait is rendered again for its next attempt, so that a thousand lanes
of a dead upstream cost no memory.

A defect stops its own lane alone: whatever is raised here shows the lane as blocked, with
the reason, and the lane tries again as it does for any other block.
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import TYPE_CHECKING, assert_never

import trio

from collector.core.verdict import Delivered, Outcome, Retry
from collector.core.window import LARGEST
from collector.forwarder.ahead import Ahead
from collector.forwarder.drawing import draw
from collector.forwarder.pace import patience
from collector.forwarder.packing import Packed
from collector.forwarder.prepare import prepare
from collector.forwarder.settling import Settling
from collector.forwarder.standing import MOVED_PAUSE, Standing
from collector.forwarder.surroundings import OpensLanes, Packs
from collector.forwarder.tasks import Bury, Idle, Ready, Request
from collector.spool import lanes, read, settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from collector.forwarder.surroundings import Surroundings
    from collector.forwarder.tasks import Task
    from collector.spool.read import Lane


STUCK_SECONDS = 60.0
"""What a step may take beyond its request's own time-out: the spool is read and written in it."""


class LaneTask:
    """Forwards one lane until it is stopped.

    Attributes:
        name: the lane's, `upstream/dialect` or `upstream/dialect/product`.
        around: what it shares with the other lanes of its upstream.
        at_once: whether a wait that was left over from before does not count.
    """

    def __init__(self, lane: int, name: str, around: Surroundings, *, at_once: bool = False) -> None:
        self.at_once = at_once
        self.name = name
        self._lane = lane
        self.around = around
        self._standing = Standing(lane, name, around)
        self._settling = Settling(self._standing, around)
        self._ahead = Ahead(around)
        self._grown = trio.Event()
        self._running = trio.CancelScope()
        self._napping = trio.CancelScope()
        self._at_work = False
        self._flushing = False
        self._began = 0.0
        self._body_bytes = 0
        self._halted = False
        self._stopping = trio.Event()
        sender = around.sender
        self._unopened = sender if isinstance(sender, OpensLanes) else None
        self._in_parts = isinstance(sender, Packs) and sender.packs

    def grown(self) -> None:
        """Events were accepted for this lane."""
        self._grown.set()

    def hurry(self) -> None:
        """Wait no longer for the next attempt, nor after the one that is under way."""
        self._standing.hurried = True
        self._napping.cancel()

    def flush(self) -> None:
        """Send what there is without lingering, once."""
        self._flushing = True
        self._grown.set()

    @property
    def stuck(self) -> str:
        """Why it makes no progress, through no fault of its upstream; empty where it does, or waits."""
        if self._halted:
            return "stopped by a defect, or by what the spool says"
        busy = trio.current_time() - self._began
        if self._at_work and busy > patience(self.around.upstream, self._body_bytes) + STUCK_SECONDS:
            return f"at work on one batch for {busy:.0f} s"
        return ""

    def stop(self, *, within: float = math.inf) -> None:
        """Begin no further attempt; one under way goes on, for `within` seconds, and is settled."""
        self._stopping.set()
        self._running.deadline = min(self._running.deadline, trio.current_time() + within)
        if not self._at_work:
            self._running.cancel()

    @property
    def in_doubt(self) -> bool:
        """Whether it was stopped while it waited for a commit, which may come yet."""
        return self._standing.in_doubt

    async def run(self) -> None:
        """Forward until stopped or cancelled."""
        with self._running:
            left = await self._guarded(self._remaining_backoff) or 0.0
            await self._nap(0.0 if self.at_once else left)
            while not self._stopping.is_set():
                self._grown = trio.Event()
                wait = await self._guarded(self._turn)
                if self._stopping.is_set():
                    return
                if wait is None:
                    await self._grown.wait()
                elif wait > 0:
                    await self._nap(wait)

    async def _guarded(self, step: Callable[[], Awaitable[float | None]]) -> float | None:
        try:
            wait = await step()
        except Exception as error:  # noqa: BLE001 (a defect met in one lane must not end the others)
            self._halted = True
            return await self._standing.halt(error)
        self._halted = False
        return wait

    async def _nap(self, seconds: float) -> None:
        """Sleep, unless hurried."""
        with trio.CancelScope() as self._napping:
            await trio.sleep(seconds)

    async def _remaining_backoff(self) -> float:
        """Seconds that a lane which was retrying before a restart has still to wait."""
        lane = await self.around.spool.read(lambda connection: read.lane(connection, self._lane))
        self._standing.recall(lane)
        if lane.state != "retrying":
            return 0.0
        wait: float = (lane.next_attempt_at - self.around.chances.wall_ms()) / 1000
        # The wall clock may have been set meanwhile: never longer than it was to wait at first.
        return min(max(wait, 0.0), lane.wait / 1000)

    async def _turn(self) -> float | None:
        """One step, when the upstream's breaker lets this lane pass.

        Returns:
            Seconds to wait, or None to wait for events.
        """
        async with self.around.breaker.passage() as probe:
            self._at_work = True
            self._began, self._body_bytes = trio.current_time(), 0
            self._standing.hurried = False
            try:
                with self.around.spool.flight(self._lane):
                    wait = await self._step(probe=probe)
                    while self._ahead.sealed and self._may_go_on():
                        self._began = trio.current_time()
                        wait = await self._step(probe=False)
                    if (left := self._ahead.leave()) is not None:
                        # Nobody has seen a byte of it, and by then other events of it may be late ones.
                        await self._standing.persist(partial(settle.unseal, batch=left))
                    return wait
            finally:
                self._ahead.leave()
                self._at_work = False

    def _may_go_on(self) -> bool:
        """Whether the next batch may follow at once, in the same turn."""
        breaker = self.around.breaker
        return not (self._stopping.is_set() or breaker.is_open or breaker.paused or breaker.is_crowded)

    async def _step(self, *, probe: bool) -> float | None:
        chances, window = self.around.chances, self.around.window
        request = Request(
            lane=self._lane,
            upstream=self.around.upstream,
            batch_id=chances.batch_id(),
            now=chances.wall_ms(),
            healthy=self._standing.healthy and not probe,
            flush=self._flushing,
            body_bytes=None if window is None else window.body_bytes,
            wire_bytes=LARGEST if window is None else window.size,
            in_parts=self._in_parts,
            splits=self.around.splits,
            swelling=self.around.swelling,
        )
        task: Task | None = self._ahead.take(request)
        if task is None:
            task = await draw(self.around, request, partial(prepare, request=request))
        match task:
            case Idle():
                if self._flushing and not request.flush:
                    return 0.0  # asked for while this was being looked up
                self._flushing = False
                return task.linger
            case Bury():
                return await self._settling.bury(task)
            case Ready():
                return await self._send(task, request, probe=probe)
            case _:
                assert_never(task)

    async def _send(self, task: Ready, request: Request, *, probe: bool) -> float:
        if self._stopping.is_set():
            return 0.0
        if task.fresh and not task.sealed and not await self._settling.seal(task):
            return MOVED_PAUSE
        outcome, began = await self._open(task.lane), trio.current_time()
        if self._stopping.is_set():
            return 0.0
        if outcome is None:
            self._body_bytes = len(task.body.content if isinstance(task.body, Packed) else task.body)
            outcome = await self._ahead.attempt(task, request)
            self.around.tally.attempted(
                outcome,
                events=task.batch.events,
                body_bytes=len(task.body),
                seconds=trio.current_time() - began,
            )
            if outcome.server_time_offset is not None:
                self.around.chances.heard(outcome.server_time_offset)
        took = trio.current_time() - began
        if not isinstance(outcome.verdict, Delivered):
            self._ahead.drop()
        following = self._ahead.take(request) if self._may_go_on() else None
        wait = await self._settling.settle(task, outcome, probe=probe, took=took, following=following)
        if self._settling.sealed is not None:
            self._ahead.put(dataclasses.replace(self._settling.sealed, sealed=True))
        return wait

    async def _open(self, lane: Lane) -> Outcome | None:
        """Make the sender ready for the lane, once; returns what came of it where that failed."""
        if self._unopened is None:
            return None
        try:
            settled = await self._unopened.open_lane(lane.name, lane.settled)
        except OSError as error:
            return Outcome(
                Retry(f"cannot be opened: {error.strerror or type(error).__name__}"), wrote_body=False
            )
        if settled != lane.settled:
            await self._standing.persist(partial(lanes.opened, lane=self._lane, settled=settled))
        self._unopened = None
        return None
