"""The forwarder: a task for each lane, begun when the lane is made."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
import trio

from collector.core.tap import Tap
from collector.core.window import Window
from collector.errors import SpoolUnavailable
from collector.forwarder import trial
from collector.forwarder.breaker import Breaker
from collector.forwarder.lane import LaneTask
from collector.forwarder.standing import SPOOL_RETRY
from collector.forwarder.surroundings import Chances, Surroundings
from collector.forwarder.tally import Tally
from collector.spool import read, steering

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from collector.config.model import Upstream
    from collector.forwarder.surroundings import Sender
    from collector.spool.read import Lane
    from collector.spool.spool import Spool

Stream = tuple[str, str]
"""A dialect and product."""


class Forwarder:
    """Runs the lanes of all configured upstreams.

    Args:
        spool: to be told of growth, its `on_growth` must be `grown`.
        upstreams: those of the configuration.
        senders: by upstream name.
        chances: time and chance.
        tap: told of what is delivered.

    Attributes:
        tap: the same.
    """

    def __init__(
        self,
        spool: Spool,
        upstreams: Collection[Upstream],
        senders: Mapping[str, Sender],
        chances: Chances,
        tap: Tap | None = None,
    ) -> None:
        self._spool = spool
        self.tap = tap or Tap()
        self._chances = chances
        self._around = {
            upstream.name: self._surround(upstream, senders[upstream.name], Tally()) for upstream in upstreams
        }
        self._tasks: dict[int, tuple[str, LaneTask]] = {}
        self._by_stream: dict[Stream, dict[str, LaneTask]] = {}
        self._complete: set[Stream] = set()
        self._found = trio.Event()
        self._retired: list[Surroundings] = []
        self._changed: set[str] = set()
        self._stopping = False
        self._unrecalled = {upstream.name for upstream in upstreams}
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
        return await trial.try_products(
            around.upstream,
            around.sender,
            products,
            device=self._spool.epoch.device,
            epoch=self._spool.epoch.name,
            batch_id=around.chances.batch_id,
        )

    async def try_directory(self, directory: Path) -> list[trial.Trial]:
        """Make the dry run of an upstream of kind `file`."""
        return [await trial.try_directory(directory)]

    def stuck(self) -> dict[str, str]:
        """The lanes that make no progress though their upstream is not to blame, and why, by name."""
        found = ((task.name, task.stuck) for _, task in self._tasks.values())
        return {name: reason for name, reason in found if reason}

    def senders(self) -> dict[str, Sender]:
        """What carries batches to each configured upstream now."""
        return {name: around.sender for name, around in self._around.items()}

    def tallies(self) -> dict[str, Tally]:
        """What the attempts came to, by upstream."""
        return {name: around.tally for name, around in self._around.items()}

    def hurry(self, upstream: str | None = None) -> None:
        """Have every waiting lane try at once, of one upstream or of all."""
        for name, around in self._around.items():
            if upstream in {None, name}:
                around.breaker.probe_now()
        for name, task in self._tasks.values():
            if upstream in {None, name}:
                task.hurry()

    def _surround(self, upstream: Upstream, sender: Sender, tally: Tally) -> Surroundings:
        return Surroundings(
            upstream,
            sender,
            Breaker(),
            self._spool,
            self._chances,
            window=_window(upstream),
            tally=tally,
            tap=self.tap,
        )

    def change(
        self, upstreams: Collection[Upstream], senders: Mapping[str, Sender], *, drain_timeout: float
    ) -> None:
        """Take up another configuration; the lanes of an upstream that did not change go on as they are.

        A lane whose upstream changed, or left, ends the attempt that is under way as it began it. Its
        next one is with the new sender. The old sender is closed when no lane uses it any more.

        Args:
            upstreams: all of the new configuration.
            senders: of those that are new, or changed.
            drain_timeout: seconds that an attempt under way has to end.
        """
        before = self._around
        self._around = {}
        for upstream in upstreams:
            around = before.get(upstream.name)
            if around is None or upstream.name in senders:
                old = around
                around = self._surround(
                    upstream, senders[upstream.name], Tally() if old is None else old.tally
                )
                if old is None:
                    self._unrecalled.add(upstream.name)
                elif old.breaker.paused:
                    around.breaker.pause()
                self._changed.add(upstream.name)
            self._around[upstream.name] = around
        for name, around in before.items():
            if self._around.get(name) is not around:
                self._retired.append(around)
        for name, task in self._tasks.values():
            if self._around.get(name) is not task.around:
                task.stop(within=drain_timeout)
        self._complete.clear()
        self._found.set()

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
                    await self._close_retired()
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
                self._pause(paused)
                return lanes
            if reason != told:
                structlog.get_logger().error("lanes_unreadable", reason=reason)
            told = reason
            with trio.move_on_after(SPOOL_RETRY):
                await self._found.wait()
        return []

    def _pause(self, paused: Collection[str]) -> None:
        """Pause what was paused when the daemon stopped, or when the upstream left the configuration."""
        for name in self._unrecalled.intersection(paused, self._around):
            self._around[name].breaker.pause()
        self._unrecalled.clear()

    def _begin(self, lane: Lane, nursery: trio.Nursery) -> None:
        around = self._around.get(lane.upstream)
        if around is None or lane.id in self._tasks or self._stopping:
            return
        # What was wrong with an upstream that has changed since may be put right.
        task = LaneTask(lane.id, lane.name, around, at_once=lane.upstream in self._changed)
        self._tasks[lane.id] = (lane.upstream, task)
        self._by_stream.setdefault((lane.dialect, lane.product), {})[lane.upstream] = task
        nursery.start_soon(self._run_lane, lane, task, name=f"lane {lane.name}")

    async def _run_lane(self, lane: Lane, task: LaneTask) -> None:
        try:
            await task.run()
            if task.in_doubt:
                # The next one would send again what that commit ends, or seal beside what it seals.
                with suppress(SpoolUnavailable):
                    await self._spool.write(lambda _: None)
        finally:
            # One that was stopped for a changed upstream makes way for the next.
            del self._tasks[lane.id]
            del self._by_stream[lane.dialect, lane.product][lane.upstream]
            self._found.set()

    async def aclose(self) -> None:
        """Close all senders; nothing may run any more."""
        for around in (*self._retired, *self._around.values()):
            await around.sender.aclose()

    async def _close_retired(self) -> None:
        """Close the senders of upstreams that changed or left, once no lane uses them."""
        used = [task.around for _, task in self._tasks.values()]
        for around in [around for around in self._retired if around not in used]:
            self._retired.remove(around)
            await around.sender.aclose()


def _paused_and_lanes(connection: sqlite3.Connection) -> tuple[frozenset[str], list[Lane]]:
    return steering.paused(connection), read.lanes(connection)


def _window(upstream: Upstream) -> Window | None:
    return None if upstream.kind == "file" else Window(patience=upstream.timeouts.total)
