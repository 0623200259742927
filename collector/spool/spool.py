"""The spool: what the listener and the forwarder see of it.

Layout: one directory with `spool.db`, its write-ahead log, and `spool.lock`. Constraints:
an answer may leave only after the commit that holds the request; one thread writes; what is
held in memory does not grow with the backlog.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import trio

from collector.errors import SpoolFull, SpoolUnavailable
from collector.spool import admission, age, identity, letters, retention, upstreams
from collector.spool.committer import Committed, Committer
from collector.spool.database import Database, open_reader
from collector.spool.directory import DATABASE_FILE, LOCK_FILE, make_directory
from collector.spool.lock import owned
from collector.spool.options import Counters, SpoolOptions
from collector.spool.reader import InlineReader, Reader, ThreadReader
from collector.spool.store import NewChunk, Store, Times
from collector.spool.worker import (
    Append,
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

__all__ = ["Spool", "SpoolOptions", "open_spool"]

T = TypeVar("T")
Stream = tuple[str, str]

MAX_QUEUED_BYTES = 64 * 1024 * 1024
"""Bodies that may wait for a commit; more is refused rather than held in memory."""

CLOSE_SECONDS = 30.0
"""How long closing waits for a disk that hangs. systemd kills after 90."""

VACUUM_PAGES = 1024
"""Pages given back to the file system in one step, 8 MiB."""


class Spool:
    """An open spool. Made by `open_spool`; used from the event loop's thread."""

    def __init__(self, options: SpoolOptions, times: Times, epoch: identity.Epoch) -> None:
        self.options = options
        self.epoch = epoch
        self.counters = Counters()
        self.used_bytes = 0
        self.healthy = True
        self.in_flight: frozenset[int] = frozenset()
        self.on_growth: Callable[[Collection[tuple[str, str]]], None] = lambda _: None
        self._times = times
        self._limits = options.limits
        self._crowding = admission.EMPTY
        self._taken: set[tuple[str, str]] = set()
        self._queued_bytes = 0
        self._writer: Writer
        self._reader: Reader
        self._vacuum: Callable[[], bool]

    # -- for the listener

    def submit(self, chunk: NewChunk) -> Ticket:
        """Queue a chunk for the next commit.

        Raises:
            SpoolFull: the quota is reached, or too much waits already.
            ValueError: no upstream takes the chunk's stream, so nobody would ever end its events.
        """
        stream = (chunk.dialect, chunk.product)
        if stream not in self._taken:
            if not self.takers(*stream):
                raise ValueError(f"no upstream takes {' '.join(stream)}")
            self._taken.add(stream)
        size = len(chunk.body)
        queued = self._queued_bytes + size
        if queued > MAX_QUEUED_BYTES:
            raise SpoolFull(used=self._queued_bytes, quota=MAX_QUEUED_BYTES)
        if self.options.when_full == "reject":
            wanted = self.used_bytes + queued
            self._limits.check(stream, used=self.used_bytes, wanted=wanted, crowding=self._crowding)
        elif size > self._limits.room:
            raise SpoolFull(used=self.used_bytes, quota=self.options.max_bytes)
        self._queued_bytes = queued
        ticket = Ticket()
        self._writer.put(Append(chunk, ticket))
        return ticket

    # -- for the forwarder

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the next commit; it is on disk when this returns.

        Cancelling the wait does not take the work back.

        Raises:
            SpoolUnavailable: nothing of it was kept.
        """
        return await self.grow(lambda connection, _: (work(connection), ()))

    async def grow(self, work: Callable[[sqlite3.Connection, int], tuple[T, Collection[Stream]]]) -> T:
        """Like `write`, for what appends past the store; `work` is given the age clock too.

        It returns its result and the streams (dialect, product) it appended to, whose lanes are woken.
        """
        ticket: ResultTicket[T] = ResultTicket()

        def run(connection: sqlite3.Connection) -> None:
            ticket.result, item.grown = work(connection, self._times.age_ms())

        item = Work(run, ticket)
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
        """Expire, persist the age clock, keep dead letters bounded, give free pages back, by bounded steps.

        Returns:
            Events that expired, by lane name.

        Raises:
            SpoolUnavailable: the disk refused; what was done until then is kept.
        """
        expired: dict[str, int] = {}
        while ended := await self.write(self._expire):
            self.counters.add("expired", ended)
            for lane, events in ended.items():
                expired[lane] = expired.get(lane, 0) + events
        while forgotten := await self.write(self._trim_letters):
            self.counters.add_letters(forgotten)
        while await self._chore(self._vacuum):
            pass
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

    def start(self, database: Database, committer: Committer, reader: sqlite3.Connection) -> None:
        """Start the threads; called once, by `open_spool`."""
        self._vacuum = lambda: database.give_back(pages=VACUUM_PAGES)
        if self.options.threads:
            token = trio.lowlevel.current_trio_token()
            self._writer = ThreadWriter(committer, interval=self.options.commit_interval, token=token)
            self._reader = ThreadReader(reader)
        else:
            self._writer = InlineWriter(committer)
            self._reader = InlineReader(reader)

    async def close(self) -> None:
        """Commit what is queued, then close both connections, the writing one last."""
        await self._reader.close()
        await self._writer.close()

    # -- told by the committer

    def committed(self, result: Committed, *, dequeued: int) -> None:
        """A group is on disk."""
        self.used_bytes = result.used
        self.healthy = result.healthy
        self._crowding = result.crowding
        self._queued_bytes -= dequeued
        self.counters.count_commit(result.requests, *result.seconds)
        self.counters.add("evicted", result.evicted)
        if result.grown:
            self.on_growth(result.grown)

    def refused(self, *, dequeued: int) -> None:
        """The disk refused a group."""
        self.healthy = False
        self._queued_bytes -= dequeued
        self.counters.failed_commits += 1


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
        SpoolUnavailable: its database cannot be opened.
    """
    path = options.directory / DATABASE_FILE
    make_directory(options.directory)
    with owned(options.directory / LOCK_FILE):
        database = Database(path, durability=options.durability)
        try:
            spool, committer = _prepare(database, options, times, machine, device)
            reader = open_reader(path)
        except BaseException:
            database.close()
            raise
        spool.start(database, committer, reader)
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


def _prepare(
    database: Database,
    options: SpoolOptions,
    times: Callable[[identity.Epoch | None], Times],
    machine: identity.Machine,
    device: str | None,
) -> tuple[Spool, Committer]:
    wall = times(None)

    def establish(connection: sqlite3.Connection) -> identity.Epoch:
        epoch = identity.establish(connection, machine=machine, device=device, now=wall.wall_ms())
        upstreams.reconcile(connection, options.upstreams, now=wall.wall_ms())
        return epoch

    epoch = database.commit(establish)
    clocks = times(epoch)
    spool = Spool(options, clocks, epoch)
    store = Store(boot=epoch.boot, takers=spool.takers, times=clocks)
    make_room = options.when_full == "drop-oldest"
    return spool, Committer(spool, database, store, options.limits, make_room=make_room)
