"""What is wrong with a spool, in words; nothing, if all is as promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakes.spools import FATES, accept, chunk, positions, query, spool_in

from collector.spool import read
from collector.spool.store import unpack

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from pathlib import Path

    from fakes.spool_life import Accepted

    from collector.spool.upstreams import Wanted


def file_faults(connection: sqlite3.Connection) -> list[str]:
    """What SQLite finds wrong with the file, and with what its rows refer to."""
    found = connection.execute("PRAGMA integrity_check").fetchall()
    faults = [text for (text,) in found if text != "ok"]
    return faults + [f"refers to nothing: {row}" for row in connection.execute("PRAGMA foreign_key_check")]


def ledger_faults(connection: sqlite3.Connection) -> list[str]:
    """Where the ledger does not balance, or says something else than the chunks."""
    fates = " + ".join(("pending", *FATES))
    unbalanced = connection.execute(f"SELECT * FROM ledger WHERE accepted <> {fates}").fetchall()  # noqa: S608
    faults = [f"unbalanced: {row}" for row in unbalanced]
    for lane in read.lanes(connection):
        (pending,) = connection.execute(
            "SELECT coalesce(sum(pending), 0) FROM ledger WHERE lane = ?", (lane.id,)
        ).fetchone()
        here = positions(connection, lane)
        if pending != len(here):
            faults.append(f"{lane.name}: {pending} pending, and {len(here)} in chunks")
        if lane.end_seq is None and here != list(
            range(lane.cursor_position, lane.cursor_position + len(here))
        ):
            faults.append(f"{lane.name}: positions have gaps: {here}")
    counted = connection.execute(
        "SELECT dialect, product, next_position, replayed,"
        " (SELECT replayed + coalesce(sum(events), 0) FROM intake WHERE intake.stream = id),"
        " (SELECT max(first_position + events) FROM chunk WHERE chunk.stream = id)"
        " FROM stream LEFT JOIN stream_end ON stream = id"
    ).fetchall()
    for dialect, product, following, replayed, received, end in counted:
        # What was replayed is for one lane alone, and may go before what came earlier.
        earliest = following - replayed
        if received != following or (end is not None and not earliest <= end <= following):
            faults.append(
                f"{dialect} {product}: {received} received, positions up to {following}, in chunks to {end}"
            )
    return faults


def acknowledged_and_lost(connection: sqlite3.Connection, accepted: Iterable[Accepted]) -> list[str]:
    """Requests that are neither there as they were sent, nor passed by the lanes that need them."""
    lanes = read.lanes(connection)
    away = connection.execute("SELECT lane, from_seq, to_seq FROM absence").fetchall()
    stored = connection.execute(
        "SELECT dialect, product, first_position, encoding, body"
        " FROM chunk JOIN stream ON stream.id = chunk.stream"
    ).fetchall()
    bodies = {
        (dialect, product, first): (encoding, body) for dialect, product, first, encoding, body in stored
    }
    faults = []
    for request in accepted:
        lane_of_stream = [lane for lane in lanes if (lane.dialect, lane.product) == request.stream]
        needed = [
            lane.name
            for lane in lane_of_stream
            if lane.cursor_position < request.first + request.events
            and not any(
                who == lane.id and begun <= request.seq and (over is None or request.seq < over)
                for who, begun, over in away
            )
        ]
        body = bodies.get((*request.stream, request.first))
        if not lane_of_stream or (needed and (body is None or unpack(*body) != request.body)):
            faults.append(f"request {request.seq} is lost to {needed}")
    return faults


async def goes_on_faults(directory: Path, *upstreams: Wanted) -> list[str]:
    """Start in earnest, accept two events, and see them come in their places."""
    next_position = (
        "SELECT coalesce(max(next_position), 0) FROM stream JOIN stream_end ON stream = id"
        " WHERE dialect = 'samsara'"
    )
    faults = []
    async with spool_in(directory, *upstreams) as spool:
        ((before,),) = await query(spool, next_position)
        await accept(spool, chunk(2))
        ((after,),) = await query(spool, next_position)
        if after != before + 2:
            faults.append(f"positions go on from {before} to {after}")
        for lane in await spool.read(read.lanes):
            here = await spool.read(lambda connection, lane=lane: positions(connection, lane))
            if lane.dialect == "samsara" and here[-2:] != [before, before + 1]:
                faults.append(f"{lane.name} ends in {here[-2:]}, not in {before + 1}")
        faults += await spool.read(ledger_faults)
    return faults
