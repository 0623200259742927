"""The batch behind the one that is under way, prepared meanwhile.

Reading and rendering take one processor as long as compressing and sending take another, so where
attempts are quick a lane drains almost twice as fast. Nothing of it is sealed before the batch before it is
delivered, and then in the same commit, if the lane goes on at once and stands where it begins.
"""

from __future__ import annotations

import dataclasses
import math
import sqlite3
from functools import partial
from typing import TYPE_CHECKING

import trio

from collector.core.limits import MIB
from collector.errors import SpoolError
from collector.forwarder.prepare import prepare_behind
from collector.forwarder.tasks import InconsistentError

if TYPE_CHECKING:
    from collector.core.batch import SealedBatch
    from collector.core.verdict import Outcome
    from collector.forwarder.surroundings import Surroundings
    from collector.forwarder.tasks import Ready, Request

QUICK_SECONDS = 0.5
"""An attempt that takes longer gains nothing by it, and would hold two batches in memory."""

NEAR_SECONDS = 0.02
NEAR_BYTES = 2 * MIB
"""Where attempts are as quick as this, larger bodies than this gain nothing: their two commits, of some
milliseconds, are spread over ten thousand events. So what a drain holds stays small."""

GOOD_SECONDS = 1.0
"""How long what was prepared is good for: what a batch says of late events is decided with it."""


class Ahead:
    """One lane's."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._ready: Ready | None = None
        self._prepared = 0.0
        self._took = math.inf

    async def attempt(self, task: Ready, request: Request) -> Outcome:
        """Attempt a batch, and where that pays prepare the next."""
        self._ready = None
        began = trio.current_time()
        if not self._pays(task):
            outcome = await self._around.sender.attempt(task.batch, task.body)
        else:
            outcome = await self._both(task, request)
        self._took = trio.current_time() - began
        return outcome

    @property
    def sealed(self) -> bool:
        """Whether what was prepared is the lane's outstanding batch now."""
        return self._ready is not None and self._ready.sealed

    def put(self, ready: Ready) -> None:
        """What was prepared, and is sealed since; nothing may move the lane until it is taken."""
        self._ready = ready

    def take(self, request: Request) -> Ready | None:
        """What was prepared, where it is still good; only after the batch before it was delivered."""
        ready, self._ready = self._ready, None
        if ready is not None and ready.sealed:
            return ready
        if ready is None or not request.healthy or trio.current_time() - self._prepared > GOOD_SECONDS:
            return None
        return ready

    def drop(self) -> None:
        """The batch before it was not delivered."""
        self._ready = None

    def leave(self) -> SealedBatch | None:
        """The lane does not go on; returns what is sealed and was not sent."""
        ready, self._ready = self._ready, None
        return ready.batch if ready is not None and ready.sealed else None

    def _pays(self, task: Ready) -> bool:
        lane = task.lane
        plain = lane.suspect_end is None and not lane.condemned and lane.end_seq is None
        # Lanes that wait for their turn must hold no batch meanwhile.
        return (
            plain
            and self._took < QUICK_SECONDS
            and task.replaced is None
            and not self._around.breaker.is_crowded
        )

    async def _both(self, task: Ready, request: Request) -> Outcome:
        outcome: Outcome | None = None
        failed: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._prepare, task, request)
            try:
                outcome = await self._around.sender.attempt(task.batch, task.body)
            except Exception as error:  # noqa: BLE001 (raised below, and not in a group)
                failed = error
        if outcome is None:
            raise failed or AssertionError
        return outcome

    async def _prepare(self, task: Ready, request: Request) -> None:
        room = request.body_bytes
        if room is not None and self._took < NEAR_SECONDS:
            room = min(room, NEAR_BYTES)
        request = dataclasses.replace(request, batch_id=self._around.chances.batch_id(), body_bytes=room)
        try:
            ready = await self._around.spool.read(partial(prepare_behind, request=request, before=task))
        except (sqlite3.Error, SpoolError, InconsistentError):
            return  # the next turn meets it too, and tells
        self._ready, self._prepared = ready, trio.current_time()
