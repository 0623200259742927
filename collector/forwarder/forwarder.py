"""The forwarder: a task for each lane, begun when the lane is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from collector.forwarder.breaker import Breaker
from collector.forwarder.lane import LaneTask, Surroundings
from collector.spool import read

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from collector.config.model import Upstream
    from collector.forwarder.lane import Sender
    from collector.spool.spool import Spool


@dataclass(frozen=True, slots=True)
class Chances:
    """Time and chance, as the lanes are given them; see `lane.Surroundings`."""

    wall_ms: Callable[[], int]
    chance: Callable[[], float]
    batch_id: Callable[[], str]


class Forwarder:
    """Runs the lanes of all configured upstreams.

    Args:
        senders: by upstream name.
    """

    def __init__(
        self, spool: Spool, upstreams: Collection[Upstream], senders: Mapping[str, Sender], chances: Chances
    ) -> None:
        self._spool = spool
        self._around = {
            upstream.name: Surroundings(
                upstream=upstream,
                sender=senders[upstream.name],
                breaker=Breaker(),
                spool=spool,
                wall_ms=chances.wall_ms,
                chance=chances.chance,
                batch_id=chances.batch_id,
            )
            for upstream in upstreams
        }
        self._tasks: dict[int, LaneTask] = {}
        self._by_stream: dict[tuple[str, str], list[LaneTask]] = {}
        self._unknown = trio.Event()
        self._stopping = False
        self._lanes = trio.CancelScope()

    def grown(self, streams: Collection[tuple[str, str]]) -> None:
        """Wake the lanes of streams (dialect, product) that have new events."""
        for stream in streams:
            known = self._by_stream.get(stream)
            if known is None:
                self._unknown.set()
            else:
                for task in known:
                    task.grown()

    def breaker(self, upstream: str) -> Breaker:
        """The breaker of a configured upstream."""
        return self._around[upstream].breaker

    def hurry(self) -> None:
        """Have every waiting lane try at once."""
        for around in self._around.values():
            around.breaker.probe_now()
        for task in self._tasks.values():
            task.hurry()

    def stop(self, *, drain_timeout: float) -> None:
        """Begin no further attempt; those under way have `drain_timeout` seconds to end."""
        self._stopping = True
        self._lanes.deadline = trio.current_time() + drain_timeout
        self._unknown.set()
        for task in self._tasks.values():
            task.stop()

    async def run(self) -> None:
        """Run until stopped; ends when no attempt is under way."""
        with self._lanes:
            async with trio.open_nursery() as nursery:
                while not self._stopping:
                    self._unknown = trio.Event()
                    await self._begin_new(nursery)
                    await self._unknown.wait()

    async def _begin_new(self, nursery: trio.Nursery) -> None:
        for lane in await self._spool.read(read.lanes):
            around = self._around.get(lane.upstream)
            if around is None or lane.id in self._tasks or self._stopping:
                continue
            task = LaneTask(lane.id, lane.name, around)
            self._tasks[lane.id] = task
            self._by_stream.setdefault((lane.dialect, lane.product), []).append(task)
            nursery.start_soon(task.run, name=f"lane {lane.name}")
