"""Committing a group: one transaction, what each item came to, and the spool's size after it."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from collector.errors import SpoolFull, SpoolUnavailable
from collector.spool import admission, retention
from collector.spool.worker import Append, Chore, Item, Work, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from collector.spool.database import Database
    from collector.spool.store import Store

EVICTION_STEPS = 16
"""Steps of eviction in one commit at most: a lowered quota is come down to over several."""

ITEM_ERRORS = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
"""What SQLite says of one statement; all else it says is of the disk or the file."""


@dataclass(slots=True)
class Committed:
    """What a commit came to.

    Attributes:
        grown: streams (dialect, product) that have more events.
        evicted: events that quota ended, by lane name.
        crowding: who is not admitted now.
        used: bytes that the spool takes now.
        healthy: whether the disk can be relied upon.
        requests: how many it held.
        seconds: what the transaction took, and the COMMIT at its end alone.
    """

    grown: Collection[tuple[str, str]] = ()
    evicted: dict[str, int] = field(default_factory=dict)
    crowding: admission.Crowding = admission.EMPTY
    used: int = 0
    healthy: bool = True
    requests: int = 0
    seconds: tuple[float, float] = (0.0, 0.0)


class Observer(Protocol):
    """Who is told, on the event loop's thread, what a commit came to."""

    @property
    def in_flight(self) -> frozenset[int]:
        """Lanes whose batch retention must spare; read on the writer's thread."""

    def committed(self, result: Committed, *, dequeued: int) -> None:
        """A group is on disk, of which `dequeued` bytes of bodies had waited."""

    def refused(self, *, dequeued: int) -> None:
        """The disk refused a group."""


class Committer:
    """The writer's side: owns the writing connection.

    Args:
        observer: who is told.
        database: the writing connection.
        store: the appending side.
        limits: the bytes that the spool may take.
        make_room: whether to evict where appending goes beyond them; else admission alone keeps them.
    """

    def __init__(
        self,
        observer: Observer,
        database: Database,
        store: Store,
        limits: admission.Limits,
        *,
        make_room: bool,
    ) -> None:
        self._observer = observer
        self._database = database
        self._store = store
        self._limits = limits
        self._makes_room = make_room
        self._used = 0

    def commit(self, group: Sequence[Item]) -> Callable[[], None]:
        """Commit a group in one transaction, then do its chores."""
        incoming = _body_bytes(group)
        began = time.perf_counter()
        try:
            if self._makes_room and self._used + incoming > self._limits.room:
                # What the log takes beyond its due would be made up for with events.
                self._database.shorten_log()
            result = self._database.commit(lambda connection: self._work(connection, group, incoming))
        except SpoolUnavailable as error:
            return self._failed(group, error, incoming)
        except Exception as error:  # noqa: BLE001 (a defect here must not end the thread that everyone waits for)
            return self._failed(group, SpoolUnavailable(_unexpected(error)), incoming)
        result.seconds = time.perf_counter() - began, self._database.sync_seconds
        for item in group:
            if isinstance(item, Chore):
                _attempt(item)
        # From here on the group is on disk, whatever happens.
        result.used = self._used = self._database.used_bytes(otherwise=self._used)
        result.healthy = self._database.trusted
        return lambda: self._settle(group, result, incoming)

    def _failed(self, group: Sequence[Item], error: SpoolUnavailable, incoming: int) -> Callable[[], None]:
        self._store.forget()
        settle = refused(group, error)

        def settle_and_count() -> None:
            self._observer.refused(dequeued=incoming)
            settle()

        return settle_and_count

    def _work(self, connection: sqlite3.Connection, group: Sequence[Item], incoming: int) -> Committed:
        result = Committed()
        self._store.note_clocks(connection)
        appends = [item for item in group if isinstance(item, Append)]
        if self._makes_room:
            self._make_room(connection, incoming, result.evicted)
            appends = self._fitting(appends)
        result.requests = len(appends)
        if appends:
            result.grown = self._store.append(connection, [item.chunk for item in appends])
        for item in group:
            if isinstance(item, Work):
                _run_alone(connection, item)
                if item.grown:
                    self._store.forget()
                    result.grown = {*result.grown, *item.grown}
        if not self._makes_room:
            used = self._database.used_bytes(otherwise=self._used)
            if self._limits.worth_counting(used):
                result.crowding = self._limits.crowding(retention.backlogs(connection), used=used)
        return result

    def _make_room(self, connection: sqlite3.Connection, incoming: int, evicted: dict[str, int]) -> None:
        """End the oldest events until what comes fits, as far as a few steps go."""
        in_flight = self._observer.in_flight
        for _ in range(EVICTION_STEPS):
            for upstream, excess in self._excesses(connection, incoming):
                ended = retention.evict(
                    connection, wanted_bytes=excess, in_flight=in_flight, upstream=upstream
                )
                for lane, events in ended.items():
                    evicted[lane] = evicted.get(lane, 0) + events
                if ended:
                    break
            else:
                return

    def _excesses(self, connection: sqlite3.Connection, incoming: int) -> list[tuple[str | None, int]]:
        """Which upstreams hold how many bytes too many; None stands for all of them."""
        excesses: list[tuple[str | None, int]] = []
        if self._limits.upstreams:
            held: dict[str, int] = {}
            for backlog in retention.backlogs(connection):
                held[backlog.upstream] = held.get(backlog.upstream, 0) + backlog.bytes
            excesses += [(name, held.get(name, 0) - bound) for name, bound in self._limits.upstreams.items()]
        used = self._database.used_bytes(otherwise=self._used)
        excesses.append((None, used + incoming - self._limits.room))
        return [(upstream, excess) for upstream, excess in excesses if excess > 0]

    def _fitting(self, appends: list[Append]) -> list[Append]:
        """Those that the quota has room for; the others are refused."""
        used = self._database.used_bytes(otherwise=self._used)
        wanted = used
        fitting = []
        for item in appends:
            size = len(item.chunk.body)
            if wanted + size > self._limits.quota:
                item.error = SpoolFull(used=used, quota=self._limits.quota)
            else:
                wanted += size
                fitting.append(item)
        return fitting

    def _settle(self, group: Sequence[Item], result: Committed, incoming: int) -> None:
        for item in group:
            item.ticket.settle(item.error)
        self._observer.committed(result, dequeued=incoming)

    def close(self) -> None:
        """Close the writing connection."""
        self._database.close()


def _body_bytes(group: Sequence[Item]) -> int:
    return sum(len(item.chunk.body) for item in group if isinstance(item, Append))


def _run_alone(connection: sqlite3.Connection, item: Work) -> None:
    """Run one item's work so that its failure undoes it and nothing else."""
    connection.execute("SAVEPOINT work")
    try:
        item.run(connection)
    except Exception as error:
        if isinstance(error, sqlite3.Error) and not isinstance(error, ITEM_ERRORS):
            raise  # the disk's or the file's fault concerns the whole group
        connection.execute("ROLLBACK TO work")
        item.error = error
    connection.execute("RELEASE work")


def _attempt(item: Chore) -> None:
    try:
        item.run()
    except SpoolUnavailable as error:
        item.error = error
    except Exception as error:  # noqa: BLE001 (as for a group)
        item.error = SpoolUnavailable(_unexpected(error))


def _unexpected(error: Exception) -> str:
    return f"unexpected {type(error).__name__}: {error}"
