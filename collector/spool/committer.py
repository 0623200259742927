"""Committing a group: one transaction, what each item came to, and the spool's size after it.

While the disk is full nothing is appended, and each other work is a transaction of its own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from collector.errors import SpoolDamaged, SpoolFull, SpoolNoSpace, SpoolUnavailable
from collector.spool import admission, retention
from collector.spool.database import PAGE_BYTES
from collector.spool.eviction import Eviction
from collector.spool.items import Append, Chore, Work, attempt, run_alone, undo, unexpected
from collector.spool.outcome import Committed
from collector.spool.worker import HERE_BYTES, refused

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from collector.spool.database import Database
    from collector.spool.items import Item
    from collector.spool.options import SpoolOptions
    from collector.spool.outcome import Observer
    from collector.spool.space import Space
    from collector.spool.store import Store

UNCOUNTED_BYTES = 1024 * 1024
"""By so much the spool may have grown before its size is counted anew, while no bound is near."""


class Committer:
    """The writer's side: owns the writing connection.

    Args:
        observer: who is told.
        database: the writing connection.
        store: the appending side.
        limits: the bytes that the spool may take.
        space: what is kept for a full disk.
        make_room: whether to evict where appending goes beyond them; else admission alone keeps them.
    """

    def __init__(
        self,
        observer: Observer,
        database: Database,
        store: Store,
        limits: admission.Limits,
        space: Space,
        *,
        make_room: bool,
    ) -> None:
        self._observer = observer
        self._database = database
        self._store = store
        self._limits = limits
        self._space = space
        self._eviction = Eviction(database, limits, observer) if make_room else None
        self._used = 0
        self._uncounted = UNCOUNTED_BYTES  # that may have been added since `_used` was counted

    def is_quick(self, group: Sequence[Item]) -> bool:
        """Whether to commit a group is no more than to insert some rows, and a sync."""
        incoming = 0
        for item in group:
            if not isinstance(item, Append):
                return False
            incoming += len(item.chunk.body)
        if incoming > HERE_BYTES or self._space.short or not self._database.trusted:
            return False
        try:
            return not self._worth_counting(incoming) and self._space.provides(incoming)
        except OSError:
            return False  # to commit it meets that again, where it is a refusal

    def commit(self, group: Sequence[Item]) -> Callable[[], None]:
        """Commit a group in one transaction, then do its chores."""
        began = time.perf_counter()
        appends = [item for item in group if isinstance(item, Append)]
        incoming = sum([len(item.chunk.body) for item in appends])
        plain = len(appends) == len(group)
        if self._space.short:
            return self._finish(group, self._commit_apart(group), incoming)
        try:
            if incoming:
                self._space.provide(incoming, plain=plain)
            if self._eviction is not None and self._used + incoming > self._limits.room:
                # What the log takes beyond its due would be made up for with events.
                self._database.shorten_log()
            result = self._commit_plainly(appends, incoming) if plain else None
            if result is None:
                result = self._database.commit(lambda writing: self._work(writing, group, appends, incoming))
        except SpoolNoSpace:
            self._take_back(group)
            self._space.shut()
            return self._finish(group, self._commit_apart(group), incoming)
        except SpoolUnavailable as error:
            return self._failed(group, error, incoming)
        except Exception as error:  # noqa: BLE001 (a defect here must not end the thread that everyone waits for)
            return self._failed(group, SpoolUnavailable(unexpected(error)), incoming)
        result.seconds = time.perf_counter() - began, self._database.sync_seconds
        return self._finish(group, result, incoming, plain=plain)

    def _finish(
        self, group: Sequence[Item], result: Committed, incoming: int, *, plain: bool = False
    ) -> Callable[[], None]:
        """Do a group's chores; from here on what was committed of it is on disk, whatever happens."""
        for item in group:
            if isinstance(item, Chore):
                attempt(item)
            elif item.error is not None and isinstance(item.error, SpoolFull):
                result.refused[item.error.lane] = result.refused.get(item.error.lane, 0) + 1
        # Each body comes into the database, and is in the log too for a time.
        self._uncounted += 2 * incoming + PAGE_BYTES
        if not plain or self._is_near():
            self._used = self._used_bytes()
            self._uncounted = 0
        result.used = self._used + self._uncounted
        result.healthy = self._database.trusted
        result.short = self._space.short
        return lambda: self._settle(group, result, incoming)

    def _commit_plainly(self, appends: list[Append], incoming: int) -> Committed | None:
        """The usual case, requests and no bound near: they are appended; None where it takes more."""
        if self._worth_counting(incoming):
            return None
        ready = self._store.rows_of([item.chunk for item in appends])
        if ready is None:
            return None
        rows, grown = ready
        self._database.commit(rows.append)
        return Committed(grown=grown, requests=len(appends))

    def _commit_apart(self, group: Sequence[Item]) -> Committed:
        """What can be done while the disk is full: append nothing, and settle one thing after the other."""
        result = Committed()
        for item in group:
            item.error = None
            if isinstance(item, Append) or (isinstance(item, Work) and item.appends):
                item.error = self._space.refusal
            elif isinstance(item, Work):
                self._settle_apart(item)
            result.failed = result.failed or isinstance(item.error, SpoolUnavailable)
        return result

    def _settle_apart(self, item: Work) -> None:
        try:
            self._space.settle(lambda: self._commit_alone(item))
        except SpoolUnavailable as error:
            item.error = error
        except Exception as error:  # noqa: BLE001 (as for a group)
            item.error = SpoolUnavailable(unexpected(error))

    def _commit_alone(self, item: Work) -> None:
        def work(connection: sqlite3.Connection) -> None:
            self._store.note_clocks(connection)
            run_alone(connection, item)

        try:
            self._database.commit(work)
        except BaseException:
            self._take_back([item])
            raise

    def take_up(self, options: SpoolOptions) -> Callable[[], None]:
        """Work by other options from the next item on; on the writer's thread.

        Returns:
            What takes that back.
        """
        before = self._limits, self._eviction, self._store.takers

        def take_back() -> None:
            self._limits, self._eviction, self._store.takers = before
            self._store.forget()

        evicts = options.when_full == "drop-oldest"
        self._limits = options.limits
        self._eviction = Eviction(self._database, options.limits, self._observer) if evicts else None
        self._store.takers = options.takers
        self._store.forget()
        return take_back

    def _take_back(self, group: Sequence[Item]) -> None:
        """A group's transaction came to nothing."""
        self._store.forget()
        for item in group:
            if isinstance(item, Work):
                undo(item)

    def _failed(self, group: Sequence[Item], error: SpoolUnavailable, incoming: int) -> Callable[[], None]:
        self._take_back(group)
        settle = refused(group, error)

        def settle_and_count() -> None:
            self._observer.refused(dequeued=incoming)
            if isinstance(error, SpoolDamaged):
                self._observer.damaged(error)
            settle()

        return settle_and_count

    def _is_near(self) -> bool:
        """Whether what was not counted yet may matter; to count takes three questions."""
        return self._uncounted > UNCOUNTED_BYTES or self._worth_counting()

    def _worth_counting(self, incoming: int = 0) -> bool:
        """Whether a bound may be near, with so many bytes of bodies more."""
        return self._limits.worth_counting(self._used + 2 * (self._uncounted + incoming))

    def _work(
        self, connection: sqlite3.Connection, group: Sequence[Item], appends: list[Append], incoming: int
    ) -> Committed:
        result = Committed()
        moment = self._store.note_clocks(connection)
        near = self._is_near()
        used = self._used_bytes() if near else self._used
        if self._eviction is not None:
            result.over = self._eviction.make_room(connection, used=used, incoming=incoming)
            used = self._used_bytes()
            appends = self._fitting(connection, appends)
        result.requests = len(appends)
        if appends:
            gate = self._gate(connection, used, incoming)
            appended = self._store.append(connection, [item.chunk for item in appends], gate, moment)
            result.grown = appended.grown
            result.evicted.update(appended.evicted)
            for place, error in appended.refused.items():
                appends[place].error = error
        for item in group:
            if isinstance(item, Work):
                run_alone(connection, item)
                if item.grown:
                    self._store.forget()
                    result.grown = {*result.grown, *item.grown}
        if self._eviction is not None:
            result.over |= self._eviction.keep_bounds(connection)
            _add(result.evicted, self._eviction.take_count())
        elif near and self._limits.worth_counting(used := self._used_bytes()):
            backlogs = retention.backlogs(connection)
            result.crowding = admission.Gate(self._limits, backlogs, used=used).crowding()
        return result

    def _used_bytes(self) -> int:
        return self._database.used_bytes(otherwise=self._used)

    def _gate(self, connection: sqlite3.Connection, used: int, incoming: int) -> admission.Gate | None:
        """Who is admitted as of now; None while nobody can be refused.

        Where the oldest are dropped that is only while what should be evicted is spared: such a
        lane keeps its oldest, so it does without the newest.
        """
        if self._eviction is not None and used + incoming <= self._limits.room:
            return None
        if not self._limits.worth_counting(used):
            return None
        return admission.Gate(self._limits, retention.backlogs(connection), used=used)

    def _fitting(self, connection: sqlite3.Connection, appends: list[Append]) -> list[Append]:
        """Those that the quota has room for; the others are refused."""
        used = self._used_bytes()
        wanted = used
        fitting = []
        for item in appends:
            size = len(item.chunk.body)
            if wanted + size > self._limits.quota:
                largest = retention.backlogs(connection)[:1]
                lane = largest[0].name if largest else ""
                item.error = SpoolFull(used=used, quota=self._limits.quota, lane=lane)
            else:
                wanted += size
                fitting.append(item)
        return fitting

    def _settle(self, group: Sequence[Item], result: Committed, incoming: int) -> None:
        for item in group:
            if isinstance(item.error, SpoolDamaged):
                self._observer.damaged(item.error)
            item.ticket.settle(item.error)
        self._observer.committed(result, dequeued=incoming)

    def close(self) -> None:
        """Close the writing connection."""
        self._database.close()


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for lane, events in more.items():
        counts[lane] = counts.get(lane, 0) + events
