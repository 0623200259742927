"""What an operator's commands do to upstreams: pause, resume, forget, bury."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.core.batch import lane_name
from collector.core.verdict import SAME_500_LIMIT
from collector.spool import retention
from collector.spool.settle import Condemned

if TYPE_CHECKING:
    import sqlite3

_NO_LIMIT = 1 << 62
_INTERNAL_SERVER_ERROR = 500


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
            f"upstream {upstream} is configured; take it out of the configuration first, and reload"
        )
    return retention.evict(connection, wanted_bytes=_NO_LIMIT, in_flight=frozenset(), upstream=upstream)


def bury(connection: sqlite3.Connection, upstream: str) -> dict[str, int]:
    """Have each event dead-lettered that holds a lane of an upstream up, since it is answered 500 for ever.

    Returns:
        The positions of those events, by lane name.

    Raises:
        UnknownUpstream: there is none of that name.
    """
    if connection.execute("SELECT 1 FROM upstream WHERE name = ?", (upstream,)).fetchone() is None:
        raise UnknownUpstream(_unknown(upstream))
    held = connection.execute(
        "SELECT lane.id, dialect, product, first, reason FROM batch JOIN lane ON lane.id = batch.lane"
        " JOIN upstream ON upstream.id = lane.upstream JOIN stream ON stream.id = lane.stream"
        " WHERE upstream.name = ? AND state = 'blocked' AND first = last"
        " AND last_status = ? AND same_status >= ?",
        (upstream, _INTERNAL_SERVER_ERROR, SAME_500_LIMIT),
    ).fetchall()
    for lane, _, _, position, reason in held:
        told = f"given up by command: {reason}"
        condemned = Condemned(position, told, _INTERNAL_SERVER_ERROR, by_command=True)
        connection.execute(
            "UPDATE lane SET condemned = (SELECT json_group_array(json(value)) FROM"
            " (SELECT ? AS value UNION ALL SELECT value FROM json_each(lane.condemned))) WHERE id = ?",
            (msgspec.json.encode(condemned).decode(), lane),
        )
        connection.execute("DELETE FROM batch WHERE lane = ?", (lane,))
    return {lane_name(upstream, dialect, product): position for _, dialect, product, position, _ in held}


def _unknown(upstream: str) -> str:
    return f"there is no upstream {upstream}"
