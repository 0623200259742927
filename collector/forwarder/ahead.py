"""The batch behind the one that is under way, prepared meanwhile.

Reading and rendering take one processor as long as compressing and sending take another, so a lane with a
quick upstream drains almost twice as fast; and a large batch, which is packed as it is read, does not keep
a long link waiting for that. Nothing of it is sealed before the batch before it is
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
from collector.core.verdict import Delivered
from collector.errors import SpoolError
from collector.forwarder.drawing import draw
from collector.forwarder.prepare import late_before, prepare_behind
from collector.forwarder.tasks import InconsistentError, Ready

if TYPE_CHECKING:
    from collector.core.batch import SealedBatch
    from collector.core.verdict import Outcome
    from collector.forwarder.surroundings import Surroundings
    from collector.forwarder.tasks import Request

NEAR_SECONDS = 0.02
NEAR_BYTES = 2 * MIB
"""Where attempts are as quick as this, larger bodies than this gain nothing: their two commits, of some
milliseconds, are spread over ten thousand events. So what a drain holds stays small."""


class Ahead:
    """One lane's."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._ready: Ready | None = None
        self._took = math.inf
        self._over = False

    async def attempt(self, task: Ready, request: Request) -> Outcome:
        """Attempt a batch, and where that pays prepare the next."""
        self._ready = None
        if not self._pays(task, request):
            return await self._attempt(task)
        return await self._both(task, request)

    async def _attempt(self, task: Ready) -> Outcome:
        began = trio.current_time()
        try:
            return await self._around.sender.attempt(task.batch, task.body)
        finally:
            self._took = trio.current_time() - began  # by itself: preparing may take longer

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
        if ready is not None and not ready.sealed and not self._says_what_is_so(ready, request):
            return None
        return ready

    def drop(self) -> None:
        """The batch before it was not delivered."""
        self._ready = None

    def leave(self) -> SealedBatch | None:
        """The lane does not go on; returns what is sealed and was not sent."""
        ready, self._ready = self._ready, None
        return ready.batch if ready is not None and ready.sealed else None

    def _says_what_is_so(self, ready: Ready, request: Request) -> bool:
        """Whether a batch still says of its events what one would that is prepared now: which are late."""
        if not request.healthy:
            return False
        options = ready.batch.options
        now = late_before(ready.lane, dataclasses.replace(request, now=self._around.chances.wall_ms()))
        if options.late_before is None or now is None or options.late_before == now:
            return options.late_before == now
        accepted = (options.received_at(piece.chunk) for piece in ready.run.pieces)
        return all((at < now) == (at < options.late_before) for at in accepted)

    def _pays(self, task: Ready, request: Request) -> bool:
        # Lanes that wait for their turn must hold no batch meanwhile. What is prepared while it is not known
        # whether the upstream takes anything would have to say that all of it may be late.
        plain = task.lane.is_plain
        return plain and request.healthy and task.replaced is None and not self._around.breaker.is_crowded

    async def _both(self, task: Ready, request: Request) -> Outcome:
        outcome: Outcome | None = None
        failed: Exception | None = None
        self._over = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._prepare, task, request)
            try:
                outcome = await self._attempt(task)
            except Exception as error:  # noqa: BLE001 (raised below, and not in a group)
                failed = error
            self._over = True
            if outcome is None or not isinstance(outcome.verdict, Delivered):
                nursery.cancel_scope.cancel()
        if outcome is None:
            raise failed or AssertionError
        return outcome

    async def _prepare(self, task: Ready, request: Request) -> None:
        room = request.body_bytes
        if room is not None and self._took < NEAR_SECONDS:
            room = min(room, NEAR_BYTES)
        request = dataclasses.replace(request, batch_id=self._around.chances.batch_id(), body_bytes=room)
        try:
            look = partial(prepare_behind, request=request, before=task)
            # Once the link is free, a batch goes as it is.
            found = await draw(self._around, request, look, enough=lambda: self._over)
        except (sqlite3.Error, SpoolError, InconsistentError):
            return  # the next turn meets it too, and tells
        self._ready = found if isinstance(found, Ready) else None
