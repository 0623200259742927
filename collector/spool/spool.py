"""The spool: what the listener and the forwarder see of it.

Layout: one directory with `spool.db`, its write-ahead log, and `spool.lock`. Constraints:
an answer may leave only after the commit that holds the request; one thread writes; what is
held in memory does not grow with the backlog.
"""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

import trio

from collector.errors import SpoolFull, SpoolUnavailable
from collector.spool import identity, retention, upstreams
from collector.spool.committer import Committer, admissible
from collector.spool.database import Database, open_reader
from collector.spool.lock import owned
from collector.spool.store import NewChunk, Store, Times
from collector.spool.worker import (
    Append,
    Chore,
    InlineReader,
    InlineWriter,
    Reader,
    ResultTicket,
    ThreadReader,
    ThreadWriter,
    Ticket,
    Work,
    Writer,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Generator, Sequence
    from pathlib import Path

T = TypeVar("T")

DATABASE_FILE = "spool.db"
LOCK_FILE = "spool.lock"

MAX_QUEUED_BYTES = 64 * 1024 * 1024
"""Bodies that may wait for a commit; more is refused rather than held in memory."""

VACUUM_PAGES = 1024
"""Pages given back to the file system in one step, 8 MiB."""


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """How a spool is opened.

    Attributes:
        directory: where its files are.
        upstreams: those of the configuration.
        max_bytes: the quota.
        max_age: ms on the age clock.
        commit_interval: seconds.
        threads: False to do all work inline, for tests under a mock clock.
    """

    directory: Path
    upstreams: Sequence[upstreams.Wanted]
    max_bytes: int = 1 << 30
    max_age: int = 30 * 86_400_000
    when_full: Literal["reject", "drop-oldest"] = "reject"
    durability: Literal["full", "normal"] = "full"
    commit_interval: float = 0.0
    threads: bool = True


@dataclass(slots=True)
class Counters:
    """What the spool has done since it was opened.

    Attributes:
        failed_commits: groups that the disk refused.
        ended: events that age or quota ended, by fate and lane name.
    """

    commits: int = 0
    failed_commits: int = 0
    ended: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, fate: str, ended: dict[str, int]) -> None:
        """Count events that retention ended."""
        for lane, events in ended.items():
            self.ended[fate, lane] = self.ended.get((fate, lane), 0) + events


class Spool:
    """An open spool. Made by `open_spool`; used from the event loop's thread."""

    def __init__(self, options: SpoolOptions, times: Times, epoch: identity.Epoch) -> None:
        self.options = options
        self.epoch = epoch
        self.counters = Counters()
        self.used_bytes = 0
        self.healthy = True
        self.in_flight: frozenset[int] = frozenset()
        self.on_growth: Callable[[Collection[tuple[str, str]]], None] = _nothing
        self._times = times
        self._queued_bytes = 0
        self._writer: Writer
        self._reader: Reader
        self._vacuum: Callable[[], object]

    # -- for the listener

    def submit(self, chunk: NewChunk) -> Ticket:
        """Queue a chunk for the next commit.

        Raises:
            SpoolFull: the quota is reached, or too much waits already.
        """
        size = len(chunk.body)
        if self._queued_bytes + size > MAX_QUEUED_BYTES:
            raise SpoolFull(used=self._queued_bytes, quota=MAX_QUEUED_BYTES)
        quota = self.options.max_bytes
        wanted = self.used_bytes + self._queued_bytes + size
        if self.options.when_full == "reject" and wanted > admissible(quota):
            raise SpoolFull(used=self.used_bytes, quota=quota)
        self._queued_bytes += size
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
        ticket: ResultTicket[T] = ResultTicket()

        def run(connection: sqlite3.Connection) -> None:
            ticket.result = work(connection)

        self._writer.put(Work(run, ticket))
        await ticket.committed()
        return ticket.result  # type: ignore[return-value]  # set by `run` before the commit

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the reading connection."""
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
        """Expire, persist the age clock, and give free pages back, each in bounded steps.

        Returns:
            Events that expired, by lane name.
        """

        def work(connection: sqlite3.Connection) -> dict[str, int]:
            age = self._times.age_ms()
            identity.save_age(connection, age=age, wall=self._times.wall_ms())
            return retention.expire(
                connection, accepted_before=age - self.options.max_age, in_flight=self.in_flight
            )

        ended = await self.write(work)
        self.counters.add("expired", ended)
        ticket = Ticket()
        self._writer.put(Chore(self._vacuum, ticket))
        await ticket.committed()
        return ended

    def takers(self, dialect: str, product: str) -> list[str]:
        """The names of the upstreams that take a dialect and product."""
        return [upstream.name for upstream in self.options.upstreams if upstream.takes(dialect, product)]

    def start(self, database: Database, committer: Committer, reader: sqlite3.Connection) -> None:
        """Start the threads; called once, by `open_spool`."""
        self._vacuum = lambda: database.give_back(pages=VACUUM_PAGES)
        self.used_bytes = database.used_bytes()
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

    def committed(self, *, used: int, dequeued: int, grown: Collection[tuple[str, str]]) -> None:
        """A group is on disk; the spool now uses `used` bytes."""
        self.used_bytes = used
        self.healthy = True
        self.counters.commits += 1
        self._queued_bytes -= dequeued
        if grown:
            self.on_growth(grown)

    def refused(self, *, dequeued: int) -> None:
        """The disk refused a group."""
        self.healthy = False
        self.counters.failed_commits += 1
        self._queued_bytes -= dequeued

    def evicted(self, ended: dict[str, int]) -> None:
        """Events were evicted, by lane name."""
        self.counters.add("evicted", ended)


def _nothing(_streams: Collection[tuple[str, str]]) -> None:
    pass


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
        times: makes the clocks, given where the age clock stood.
        machine: the machine that this runs on.
        device: the configured device id, or None to make one once.

    Raises:
        SpoolLocked: another live process owns it.
        SpoolTooNew: it was written by a later release.
        SpoolUnavailable: its database cannot be opened.
    """
    directory = options.directory
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with owned(directory / LOCK_FILE):
        path = directory / DATABASE_FILE
        try:
            database = Database(path, durability=options.durability)
        except sqlite3.Error as error:
            raise SpoolUnavailable(f"{path}: {error}") from error
        wall = times(None)

        def prepare(connection: sqlite3.Connection) -> identity.Epoch:
            epoch = identity.establish(
                connection, machine=machine, device=device, now=wall.wall_ms(), clock_good=wall.wall_good()
            )
            upstreams.reconcile(connection, options.upstreams, now=wall.wall_ms())
            return epoch

        try:
            epoch = database.commit(prepare)
        except BaseException:
            database.close()
            raise
        clocks = times(epoch)
        spool = Spool(options, clocks, epoch)
        store = Store(boot=epoch.boot, takers=spool.takers, times=clocks)
        room = admissible(options.max_bytes) if options.when_full == "drop-oldest" else None
        committer = Committer(spool, database, store, make_room_within=room)
        spool.start(database, committer, open_reader(path))
        try:
            yield spool
        finally:
            await spool.close()
