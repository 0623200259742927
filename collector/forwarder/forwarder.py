"""The forwarder: a task for each lane, begun when the lane is made."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import structlog
import trio

from collector.core.window import Window
from collector.forwarder import trial
from collector.forwarder.breaker import Breaker
from collector.forwarder.lane import LaneTask
from collector.forwarder.standing import SPOOL_RETRY
from collector.forwarder.surroundings import Chances, Surroundings
from collector.spool import read, steering

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from collector.config.model import Upstream
    from collector.forwarder.surroundings import Sender
    from collector.spool.read import Lane
    from collector.spool.spool import Spool

__all__ = ["Chances", "Forwarder"]

Stream = tuple[str, str]
"""A dialect and product."""


class Forwarder:
    """Runs the lanes of all configured upstreams.

    Args:
        spool: to be told of growth, its `on_growth` must be `grown`.
        upstreams: those of the configuration.
        senders: by upstream name.
        chances: time and chance.
    """

    def __init__(
        self,
        spool: Spool,
        upstreams: Collection[Upstream],
        senders: Mapping[str, Sender],
        chances: Chances,
    ) -> None:
        self._spool = spool
        self._around = {
            upstream.name: Surroundings(
                upstream, senders[upstream.name], Breaker(), spool, chances, _window(upstream)
            )
            for upstream in upstreams
        }
        self._tasks: dict[int, tuple[str, LaneTask]] = {}
        self._by_stream: dict[Stream, dict[str, LaneTask]] = {}
        self._complete: set[Stream] = set()
        self._found = trio.Event()
        self._stopping = False
        self._recalled = False
        self._lanes = trio.CancelScope()

    def grown(self, streams: Collection[Stream]) -> None:
        """Wake the lanes of streams that have new events."""
        for stream in streams:
            known = self._by_stream.get(stream, {})
            for task in known.values():
                task.grown()
            if stream in self._complete:
                continue
            # A stream that was there before an upstream was added gets its lane with its next events.
            if known.keys() >= set(self._spool.takers(*stream)):
                self._complete.add(stream)
            else:
                self._found.set()

    def breaker(self, upstream: str) -> Breaker:
        """The breaker of a configured upstream."""
        return self._around[upstream].breaker

    def flush(self, upstream: str) -> None:
        """Have every lane of an upstream send what it has, lingering or waiting, at once."""
        for name, task in self._tasks.values():
            if upstream == name:
                task.flush()
        self.hurry(upstream)

    async def try_out(self, upstream: str, products: Sequence[str]) -> list[trial.Trial]:
        """Make a dry run of a configured upstream, one for each product, or for "" alone."""
        around = self._around[upstream]
        return [
            await trial.try_out(
                around.upstream,
                around.sender,
                product=product,
                device=self._spool.epoch.device,
                epoch=self._spool.epoch.name,
                batch_id=around.chances.batch_id,
            )
            for product in products
        ]

    async def try_directory(self, directory: Path) -> list[trial.Trial]:
        """Make the dry run of an upstream of kind `file`."""
        return [await trial.try_directory(directory)]

    def hurry(self, upstream: str | None = None) -> None:
        """Have every waiting lane try at once, of one upstream or of all."""
        for name, around in self._around.items():
            if upstream in {None, name}:
                around.breaker.probe_now()
        for name, task in self._tasks.values():
            if upstream in {None, name}:
                task.hurry()

    def stop(self, *, drain_timeout: float) -> None:
        """Begin no further attempt; those under way have `drain_timeout` seconds to end."""
        self._stopping = True
        self._lanes.deadline = trio.current_time() + drain_timeout
        self._found.set()
        for _, task in self._tasks.values():
            task.stop()

    async def run(self) -> None:
        """Run until stopped; ends when no attempt is under way."""
        with self._lanes:
            async with trio.open_nursery() as nursery:
                while not self._stopping:
                    self._found = trio.Event()
                    for lane in await self._read_lanes():
                        self._begin(lane, nursery)
                    if not self._stopping:
                        await self._found.wait()

    async def _read_lanes(self) -> list[Lane]:
        told = ""
        while not self._stopping:
            try:
                paused, lanes = await self._spool.read(_paused_and_lanes)
            except sqlite3.Error as error:
                reason = str(error)
            else:
                if not self._recalled:
                    self._pause(paused)
                return lanes
            if reason != told:
                structlog.get_logger().error("lanes_unreadable", reason=reason)
            told = reason
            with trio.move_on_after(SPOOL_RETRY):
                await self._found.wait()
        return []

    def _pause(self, paused: Collection[str]) -> None:
        """Pause what was paused when the daemon stopped."""
        self._recalled = True
        for name, around in self._around.items():
            if name in paused:
                around.breaker.pause()

    def _begin(self, lane: Lane, nursery: trio.Nursery) -> None:
        around = self._around.get(lane.upstream)
        if around is None or lane.id in self._tasks or self._stopping:
            return
        task = LaneTask(lane.id, lane.name, around)
        self._tasks[lane.id] = (lane.upstream, task)
        self._by_stream.setdefault((lane.dialect, lane.product), {})[lane.upstream] = task
        nursery.start_soon(task.run, name=f"lane {lane.name}")


def _paused_and_lanes(connection: sqlite3.Connection) -> tuple[frozenset[str], list[Lane]]:
    return steering.paused(connection), read.lanes(connection)


def _window(upstream: Upstream) -> Window | None:
    return None if upstream.kind == "file" else Window(patience=upstream.timeouts.total)
