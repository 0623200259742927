"""Committing a group: one transaction, what each item came to, and the spool's size after it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Protocol

from collector.errors import SpoolUnavailable
from collector.spool import retention
from collector.spool.worker import Append, Chore, Item, Work, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from collector.spool.database import Database
    from collector.spool.store import Store

SETTLING_RESERVE = 8 * 1024 * 1024
"""Bytes of the quota (a quarter of a small one) that settling may use and admission may not."""


class Observer(Protocol):
    """Who is told, on the event loop's thread, what a commit came to."""

    @property
    def in_flight(self) -> frozenset[int]:
        """Lanes whose batch retention must spare; read on the writer's thread."""

    def committed(self, *, used: int, dequeued: int, grown: Collection[tuple[str, str]]) -> None:
        """A group is on disk; the spool now uses `used` bytes, and streams (dialect, product) have grown."""

    def refused(self, *, dequeued: int) -> None:
        """The disk refused a group."""

    def evicted(self, ended: dict[str, int]) -> None:
        """Events were evicted, by lane name."""


class Committer:
    """The writer's side: owns the writing connection.

    Args:
        make_room_within: the bytes that appending may use, at the cost of the oldest
            events; None where admission alone keeps the quota.
    """

    def __init__(
        self, observer: Observer, database: Database, store: Store, *, make_room_within: int | None
    ) -> None:
        self._observer = observer
        self._database = database
        self._store = store
        self._make_room_within = make_room_within

    def commit(self, group: Sequence[Item]) -> Callable[[], None]:
        """Commit a group in one transaction, then do its chores."""
        self._evicted: list[dict[str, int]] = []
        try:
            grown = self._database.commit(lambda connection: self._work(connection, group))
            used = self._database.used_bytes()
        except SpoolUnavailable as error:
            return self._failed(group, error)
        except Exception as error:  # noqa: BLE001 (a defect here must not end the thread that everyone waits for)
            return self._failed(group, SpoolUnavailable(f"unexpected {type(error).__name__}: {error}"))
        for item in group:
            if isinstance(item, Chore):
                _attempt(item)
        evicted = self._evicted
        return lambda: self._settle(group, used, evicted, grown)

    def _failed(self, group: Sequence[Item], error: SpoolUnavailable) -> Callable[[], None]:
        self._store.forget()
        settle = refused(group, error)

        def settle_and_count() -> None:
            self._observer.refused(dequeued=_body_bytes(group))
            settle()

        return settle_and_count

    def _work(self, connection: sqlite3.Connection, group: Sequence[Item]) -> set[tuple[str, str]]:
        grown: set[tuple[str, str]] = set()
        chunks = [item.chunk for item in group if isinstance(item, Append)]
        if chunks:
            if self._make_room_within is not None:
                self._make_room(connection, self._make_room_within - _body_bytes(group))
            grown = self._store.append(connection, chunks)
        for item in group:
            if isinstance(item, Work):
                _run_alone(connection, item)
        return grown

    def _make_room(self, connection: sqlite3.Connection, room: int) -> None:
        while self._database.used_bytes() > room:
            ended = retention.evict(connection, in_flight=self._observer.in_flight)
            if not ended:
                return
            self._evicted.append(ended)

    def _settle(
        self,
        group: Sequence[Item],
        used: int,
        evicted: list[dict[str, int]],
        grown: Collection[tuple[str, str]],
    ) -> None:
        for ended in evicted:
            self._observer.evicted(ended)
        for item in group:
            item.ticket.settle(None if isinstance(item, Append) else item.error)
        self._observer.committed(used=used, dequeued=_body_bytes(group), grown=grown)

    def close(self) -> None:
        """Close the writing connection."""
        self._database.close()


def admissible(quota: int) -> int:
    """The part of a quota that admission may fill; settling keeps the rest."""
    return quota - min(SETTLING_RESERVE, quota // 4)


def _body_bytes(group: Sequence[Item]) -> int:
    return sum(len(item.chunk.body) for item in group if isinstance(item, Append))


def _run_alone(connection: sqlite3.Connection, item: Work) -> None:
    """Run one item's work so that its failure undoes it and nothing else."""
    connection.execute("SAVEPOINT work")
    try:
        item.run(connection)
    except (sqlite3.OperationalError, sqlite3.InternalError):
        raise  # the disk's or the file's fault concerns the whole group
    except Exception as error:  # noqa: BLE001 (handed to whoever waits for it)
        connection.execute("ROLLBACK TO work")
        item.error = error
    connection.execute("RELEASE work")


def _attempt(item: Chore) -> None:
    try:
        item.run()
    except SpoolUnavailable as error:
        item.error = error
