"""What an operator's commands do to upstreams: pause, resume, forget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.spool import retention

if TYPE_CHECKING:
    import sqlite3

_NO_LIMIT = 1 << 62


class UnknownUpstream(Exception):
    """The spool has no upstream of that name; `str()` says so."""


class StillConfigured(Exception):
    """The upstream is in the configuration, so its events are not given up; `str()` says so."""


def paused(connection: sqlite3.Connection) -> frozenset[str]:
    """The names of the upstreams that are paused."""
    rows = connection.execute("SELECT name FROM upstream WHERE paused_at IS NOT NULL")
    return frozenset(name for (name,) in rows)


def set_paused(connection: sqlite3.Connection, upstream: str, *, at: int | None) -> None:
    """Keep that an upstream is paused since `at` (ms since 1970), or is not.

    Raises:
        UnknownUpstream: there is none of that name.
    """
    changed = connection.execute(
        "UPDATE upstream SET paused_at = CASE WHEN ?1 IS NULL THEN NULL ELSE coalesce(paused_at, ?1) END"
        " WHERE name = ?2",
        (at, upstream),
    )
    if changed.rowcount != 1:
        raise UnknownUpstream(_unknown(upstream))


def forget(connection: sqlite3.Connection, upstream: str) -> dict[str, int]:
    """Evict what an upstream that left the configuration still holds, by bounded steps.

    Its lanes and their ledger stay, since they say what became of its events; so do its dead letters.

    Returns:
        How many events ended in this step, by lane name; empty where it holds no more.

    Raises:
        UnknownUpstream: there is none of that name.
        StillConfigured: it has not left.
    """
    row = connection.execute("SELECT orphaned_at FROM upstream WHERE name = ?", (upstream,)).fetchone()
    if row is None:
        raise UnknownUpstream(_unknown(upstream))
    if row[0] is None:
        raise StillConfigured(
            f"upstream {upstream} is configured; take it out of the configuration and restart first"
        )
    return retention.evict(connection, wanted_bytes=_NO_LIMIT, in_flight=frozenset(), upstream=upstream)


def _unknown(upstream: str) -> str:
    return f"there is no upstream {upstream}"
