"""The spool: what the listener and the forwarder see of it.

Layout: one directory with `spool.db`, its write-ahead log, and `spool.lock`. Constraints:
an answer may leave only after the commit that holds the request; one thread writes; what is
held in memory does not grow with the backlog.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn, TypeVar

import trio

from collector.errors import SpoolDamaged, SpoolUnavailable
from collector.spool import age, identity
from collector.spool.aside import mark_damaged
from collector.spool.directory import DATABASE_FILE
from collector.spool.entrance import Entrance
from collector.spool.examine import is_damage
from collector.spool.items import Work
from collector.spool.maintenance import Maintenance
from collector.spool.options import Counters, SpoolOptions
from collector.spool.reader import InlineReader, Reader, ThreadReader
from collector.spool.terms import take_up
from collector.spool.tickets import ResultTicket, Ticket
from collector.spool.worker import (
    CLOSED,
    GROUP_BYTES,
    QUOTA_SHARE,
    GroupWriter,
    InlineWriter,
    Writer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator

    from collector.core.timekeeping import Moment, Trust
    from collector.spool.committer import Committer
    from collector.spool.journal import Salvaged
    from collector.spool.outcome import Committed
    from collector.spool.space import Space
    from collector.spool.store import NewChunk, Times

T = TypeVar("T")
Stream = tuple[str, str]


class Spool:
    """An open spool. Made by `open_spool`; used from the event loop's thread.

    Attributes:
        options: the terms that it works by now.
        epoch: which life of a spool it is.
        counters: what it has done.
        used_bytes: what it takes on the disk.
        healthy: whether the last commit succeeded.
        salvaged: what was saved of a damaged spool at this start; None where there was none.
        unconfirmed: why it was thought to be damaged before this start, where it is not.
        damage: what shows that it is damaged now.
        disk_full: whether nothing is accepted since the disk has no room.
        shortage: set once the disk is full; made anew when it has room again.
        evicting: whether more must be evicted, and can be, by commits to come.
        in_flight: the lanes whose sealed batch retention spares.
        on_growth: told of the streams (dialect, product) that have more events.
    """

    def __init__(self, options: SpoolOptions, times: Times, epoch: identity.Epoch) -> None:
        self.options = options
        self.epoch = epoch
        self.counters = Counters()
        self.used_bytes = 0
        self.healthy = True
        self.salvaged: Salvaged | None = None
        self.unconfirmed = ""
        self.damage: SpoolDamaged | None = None
        self._damaged = trio.Event()
        self.disk_full = False
        self.shortage = trio.Event()
        self.in_flight: frozenset[int] = frozenset()
        self.on_growth: Callable[[Collection[Stream]], None] = lambda _: None
        self._times = times
        self.evicting = False
        self._entrance: Entrance
        self._maintenance: Maintenance
        self._writer: Writer
        self._reader: Reader
        self._space: Space
        self._committer: Committer

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
            NotTaken: no upstream takes the chunk's stream, so nobody would ever end its events.
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

        # No reference back to the item: a cycle would keep batches of megabytes until they are looked for.
        grown: list[Stream] = []

        def run(connection: sqlite3.Connection) -> None:
            ticket.result, grown[:] = work(connection, self._times.age_ms())

        self._writer.put(Work(run, ticket, appends=appends, grown=grown))
        await ticket.committed()
        return ticket.result  # type: ignore[return-value]  # set by `run` before the commit

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the reading connection; all that it sees is of one moment.

        Raises:
            SpoolDamaged: what is on disk is not what was written.
            sqlite3.Error: the disk failed.
        """
        try:
            return await self._reader.run(work)
        except SpoolDamaged as met:
            self.damaged(met)
            raise
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            damage = SpoolDamaged(str(error))
            self.damaged(damage)
            raise damage from error

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

    async def change(self, options: SpoolOptions) -> None:
        """Take up other upstreams, quota and bounds; durability, directory and intervals stay.

        Raises:
            SpoolUnavailable: the disk refused, and nothing has changed.
        """
        await take_up(
            options,
            self.options,
            entrance=self._entrance,
            committer=self._committer,
            put=self._writer.put,
            wall_ms=self._times.wall_ms,
        )
        self.options = options
        if isinstance(self._writer, GroupWriter):
            self._writer.group_bytes = _group_bytes(options)

    async def maintain(self) -> dict[str, int]:
        """Come down to quota and bounds, expire, give free pages back, see to the ballast: in bounded steps.

        Returns:
            Events that expired, by lane name.

        Raises:
            SpoolUnavailable: the disk refused; what was done until then is kept.
        """
        return await self._maintenance.round()

    def keep_clocks(self, connection: sqlite3.Connection) -> Moment:
        """Persist where the clocks stand, inside the writer's transaction; returns that."""
        moment = self._times.moment()
        age.keep(connection, moment, boot=self.epoch.boot)
        return moment

    @property
    def clock_trust(self) -> Trust:
        """How far the wall clock is believed now."""
        return self._times.moment().trust

    def takers(self, dialect: str, product: str) -> list[str]:
        """The names of the upstreams that take a dialect and product."""
        return self.options.takers(dialect, product)

    @property
    def over_quota(self) -> bool:
        """Whether more is stored than may be appended, as after the quota was lowered."""
        return self.used_bytes > self.options.limits.room

    def start(self, space: Space, committer: Committer, reader: sqlite3.Connection) -> None:
        """Start the threads; called once, by `open_spool`."""
        self._space, self._committer = space, committer
        if self.options.threads:
            token = trio.lowlevel.current_trio_token()
            self._writer = GroupWriter(
                committer,
                interval=self.options.commit_interval,
                token=token,
                group_bytes=_group_bytes(self.options),
            )
            self._reader = ThreadReader(reader)
        else:
            self._writer = InlineWriter(committer)
            self._reader = InlineReader(reader)
        self._entrance = Entrance(self.options, self.takers, self.counters, self._writer.put)
        self._maintenance = Maintenance(self, space, self._times, self._writer.put)

    async def close(self) -> None:
        """Commit what is queued, then close both connections, the writing one last."""
        self._entrance.refuse_waiting(SpoolUnavailable(CLOSED))
        await self._reader.close()
        await self._writer.close()

    async def sound(self) -> NoReturn:
        """Wait for as long as nothing shows that the spool is damaged.

        Raises:
            SpoolDamaged: something did, and the next start will salvage.
        """
        await self._damaged.wait()
        assert self.damage is not None  # noqa: S101 (set before the event)
        raise self.damage

    # -- told by the committer

    def committed(self, result: Committed, *, dequeued: int) -> None:
        """A group is on disk."""
        self.used_bytes, self.healthy, self.evicting = result.used, result.healthy, result.over
        self.counters.count_commit(result.requests, *result.seconds)
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

    def damaged(self, error: SpoolDamaged) -> None:
        """What is on disk is not what was written: nothing more can be relied upon."""
        self.healthy = False
        if self.damage is None:
            self.damage = error
            with suppress(OSError):
                mark_damaged(self.options.directory / DATABASE_FILE, error.cause)
            self._damaged.set()


def _group_bytes(options: SpoolOptions) -> int:
    """Bytes of bodies that may share a commit."""
    return min(GROUP_BYTES, options.limits.quota // QUOTA_SHARE)
