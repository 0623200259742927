"""The spool: what the listener and the forwarder see of it.

Layout: one directory with `spool.db`, its write-ahead log, and `spool.lock`. Constraints:
an answer may leave only after the commit that holds the request; one thread writes; what is
held in memory does not grow with the backlog.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import trio

from collector.errors import SpoolUnavailable
from collector.spool import age, identity, letters, retention
from collector.spool.committer import Committed, Committer
from collector.spool.directory import LOCK_FILE, make_directory
from collector.spool.entrance import Entrance
from collector.spool.lock import owned
from collector.spool.opening import open_files
from collector.spool.options import Counters, SpoolOptions
from collector.spool.reader import InlineReader, Reader, ThreadReader
from collector.spool.store import NewChunk, Store, Times
from collector.spool.worker import (
    CLOSED,
    Chore,
    InlineWriter,
    ResultTicket,
    ThreadWriter,
    Ticket,
    Work,
    Writer,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncGenerator, Callable, Collection, Generator

    from collector.core.timekeeping import Moment
    from collector.spool.space import Space

__all__ = ["Spool", "SpoolOptions", "open_spool"]

T = TypeVar("T")
Stream = tuple[str, str]

CLOSE_SECONDS = 30.0
"""How long closing waits for a disk that hangs. systemd kills after 90."""


class Spool:
    """An open spool. Made by `open_spool`; used from the event loop's thread.

    Attributes:
        healthy: whether the last commit succeeded.
        disk_full: whether nothing is accepted since the disk has no room.
        shortage: set once the disk is full; made anew when it has room again.
    """

    def __init__(self, options: SpoolOptions, times: Times, epoch: identity.Epoch) -> None:
        self.options = options
        self.epoch = epoch
        self.counters = Counters()
        self.used_bytes = 0
        self.healthy = True
        self.disk_full = False
        self.shortage = trio.Event()
        self.in_flight: frozenset[int] = frozenset()
        self.on_growth: Callable[[Collection[tuple[str, str]]], None] = lambda _: None
        self._times = times
        self._over = False
        self._entrance: Entrance
        self._writer: Writer
        self._reader: Reader
        self._space: Space

    # -- for the listener

    @property
    def ready(self) -> bool:
        """Whether what is submitted can be expected to be committed."""
        return self.healthy and not self.disk_full

    def submit(self, chunk: NewChunk) -> Ticket:
        """Queue a chunk for the next commit, or to wait for room.

        Raises:
            SpoolFull: the quota is reached and there is no patience, or too much waits already.
            SpoolNoSpace: the disk is full.
            ValueError: no upstream takes the chunk's stream, so nobody would ever end its events.
        """
        if self.disk_full:
            raise self._space.refusal
        return self._entrance.submit(chunk)

    # -- for the forwarder

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the next commit; it is on disk when this returns.

        Cancelling the wait does not take the work back.

        Raises:
            SpoolUnavailable: nothing of it was kept.
        """
        return await self._work(lambda connection, _: (work(connection), ()), appends=False)

    async def grow(self, work: Callable[[sqlite3.Connection, int], tuple[T, Collection[Stream]]]) -> T:
        """Like `write`, for what appends past the store; `work` is given the age clock too.

        It returns its result and the streams (dialect, product) it appended to, whose lanes are woken.

        Raises:
            SpoolUnavailable: nothing of it was kept; SpoolNoSpace while the disk is full.
        """
        return await self._work(work, appends=True)

    async def _work(
        self, work: Callable[[sqlite3.Connection, int], tuple[T, Collection[Stream]]], *, appends: bool
    ) -> T:
        ticket: ResultTicket[T] = ResultTicket()

        def run(connection: sqlite3.Connection) -> None:
            ticket.result, item.grown = work(connection, self._times.age_ms())

        item = Work(run, ticket, appends=appends)
        self._writer.put(item)
        await ticket.committed()
        return ticket.result  # type: ignore[return-value]  # set by `run` before the commit

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the reading connection; all that it sees is of one moment.

        Raises:
            sqlite3.Error: the disk failed.
        """
        return await self._reader.run(work)

    @contextmanager
    def flight(self, lane: int) -> Generator[None]:
        """While held, retention spares the lane's sealed batch."""
        # Replaced, never changed: the writer's thread reads it.
        self.in_flight |= {lane}
        try:
            yield
        finally:
            self.in_flight -= {lane}

    # -- for the daemon

    async def maintain(self) -> dict[str, int]:
        """Come down to quota and bounds, expire, give free pages back, see to the ballast: in bounded steps.

        Returns:
            Events that expired, by lane name.

        Raises:
            SpoolUnavailable: the disk refused; what was done until then is kept.
        """
        expired: dict[str, int] = {}
        refused: SpoolUnavailable | None = None
        try:
            while self._over and not self.disk_full:
                await self.write(lambda _: None)
            while ended := await self.write(self._expire):
                self.counters.add("expired", ended)
                for lane, events in ended.items():
                    expired[lane] = expired.get(lane, 0) + events
            while forgotten := await self.write(self._trim_letters):
                self.counters.add_letters(forgotten)
        except SpoolUnavailable as error:
            refused = error
        # Most of all where the disk refuses: this is what makes room on it.
        while await self._chore(self._space.upkeep):
            pass
        if refused is not None:
            raise refused
        return expired

    def _trim_letters(self, connection: sqlite3.Connection) -> dict[str, int]:
        return letters.trim(connection, self.options.letters, age=self._times.age_ms())

    def _expire(self, connection: sqlite3.Connection) -> dict[str, int]:
        now = self.keep_clocks(connection)
        before = age.accepted_before(connection, age=now.age, max_age=self.options.max_age)
        return retention.expire(connection, accepted_before=before, in_flight=self.in_flight)

    def keep_clocks(self, connection: sqlite3.Connection) -> Moment:
        """Persist where the clocks stand, inside the writer's transaction; returns that."""
        moment = self._times.moment()
        age.keep(connection, moment, boot=self.epoch.boot)
        return moment

    async def _chore(self, run: Callable[[], T]) -> T:
        """Run something on the writer's thread, outside of any transaction."""
        ticket: ResultTicket[T] = ResultTicket()

        def chore() -> None:
            ticket.result = run()

        self._writer.put(Chore(chore, ticket))
        await ticket.committed()
        return ticket.result  # type: ignore[return-value]  # set by `chore` before the ticket was settled

    def takers(self, dialect: str, product: str) -> list[str]:
        """The names of the upstreams that take a dialect and product."""
        return [upstream.name for upstream in self.options.upstreams if upstream.takes(dialect, product)]

    @property
    def over_quota(self) -> bool:
        """Whether more is stored than may be appended, as after the quota was lowered."""
        return self.used_bytes > self.options.limits.room

    def start(self, space: Space, committer: Committer, reader: sqlite3.Connection) -> None:
        """Start the threads; called once, by `open_spool`."""
        self._space = space
        if self.options.threads:
            token = trio.lowlevel.current_trio_token()
            self._writer = ThreadWriter(committer, interval=self.options.commit_interval, token=token)
            self._reader = ThreadReader(reader)
        else:
            self._writer = InlineWriter(committer)
            self._reader = InlineReader(reader)
        self._entrance = Entrance(self.options, self.takers, self.counters, self._writer.put)

    async def close(self) -> None:
        """Commit what is queued, then close both connections, the writing one last."""
        self._entrance.refuse_waiting(SpoolUnavailable(CLOSED))
        await self._reader.close()
        await self._writer.close()

    # -- told by the committer

    def committed(self, result: Committed, *, dequeued: int) -> None:
        """A group is on disk."""
        self.used_bytes, self.healthy, self._over = result.used, result.healthy, result.over
        self.counters.commits += 1
        self.counters.failed_commits += result.failed
        self.counters.add("evicted", result.evicted)
        self.counters.add_refused(result.refused)
        if result.short != self.disk_full:
            self._turn(full=result.short)
        if result.grown:
            self.on_growth(result.grown)
        self._entrance.committed(used=result.used, crowding=result.crowding, dequeued=dequeued)

    def _turn(self, *, full: bool) -> None:
        self.disk_full = full
        if full:
            self.counters.shortages += 1
            self.shortage.set()
            self._entrance.refuse_waiting(self._space.refusal)
        else:
            self.shortage = trio.Event()

    def refused(self, *, dequeued: int) -> None:
        """The disk refused a group."""
        self.healthy = False
        self.counters.failed_commits += 1
        self._entrance.refused(dequeued=dequeued)


@asynccontextmanager
async def open_spool(
    options: SpoolOptions,
    times: Callable[[identity.Epoch | None], Times],
    *,
    machine: identity.Machine,
    device: str | None = None,
) -> AsyncGenerator[Spool]:
    """Own and open the spool of a directory; it is closed, after all that was queued, at the end.

    Args:
        options: how.
        times: the clocks; called again, once it is known what was kept of them.
        machine: the machine that this runs on.
        device: the configured device id, or None to make one once.

    Raises:
        SpoolLocked: another live process owns it.
        SpoolTooNew: it was written by a later release.
        SpoolUnavailable: its database cannot be opened; SpoolNoSpace where the disk is full and there is
            no ballast to give up.
    """
    make_directory(options.directory)
    with owned(options.directory / LOCK_FILE):
        opened = open_files(options, times, machine=machine, device=device)
        spool = Spool(options, opened.clocks, opened.epoch)
        store = Store(boot=opened.epoch.boot, takers=spool.takers, times=opened.clocks)
        evicts = options.when_full == "drop-oldest"
        committer = Committer(spool, opened.database, store, options.limits, opened.space, make_room=evicts)
        spool.start(opened.space, committer, opened.reader)
        try:
            # The first commit says what the spool takes, and who is admitted.
            await spool.write(spool.keep_clocks)
            yield spool
        finally:
            with trio.move_on_after(CLOSE_SECONDS, shield=True) as closing:
                with suppress(SpoolUnavailable):
                    await spool.write(spool.keep_clocks)
                await spool.close()
            if closing.cancelled_caught:
                raise SpoolUnavailable(f"the disk did not take what was queued within {CLOSE_SECONDS:g} s")
