"""Spools as their tests need them: without threads unless asked for, with clocks that stand."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from fakes.clocks import StandingClocks

from collector.core import batch as batches
from collector.core import choosing, rendering
from collector.errors import SpoolFull
from collector.spool import read
from collector.spool.directory import DATABASE_FILE
from collector.spool.identity import Machine
from collector.spool.items import Work
from collector.spool.opening import open_spool
from collector.spool.options import SpoolOptions
from collector.spool.store import NewChunk
from collector.spool.tickets import ResultTicket, Ticket
from collector.spool.upstreams import Wanted

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from collector.core.batch import Run, SealedBatch
    from collector.spool.database import Database
    from collector.spool.read import Lane
    from collector.spool.spool import Spool

T = TypeVar("T")

HERE = Machine(id="machine-a", boot="boot-1")
PRODUCT = "a32e6578-17b7-11e4-930a-bc764e1c05e4"
FAST_DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 (a file system in memory)
FATES = ("delivered", "dead", "expired", "evicted", "damaged")

_numbers = itertools.count(1)


def everything(_dialect: str, _product: str) -> bool:
    return True


def wanted(
    name: str = "main",
    *,
    takes: Callable[[str, str], bool] = everything,
    from_oldest: bool = False,
    max_bytes: int | None = None,
    kind: str = "samsara",
) -> Wanted:
    return Wanted(name=name, kind=kind, from_oldest=from_oldest, takes=takes, max_bytes=max_bytes)


def spool_in(
    directory: Path,
    *upstreams: Wanted,
    clocks: StandingClocks | None = None,
    machine: Machine = HERE,
    device: str | None = None,
    threads: bool = False,
    ballast_bytes: int = 0,
    **options: object,
) -> AbstractAsyncContextManager[Spool]:
    """Open a spool, with one upstream that takes everything unless others are given."""
    times = clocks or StandingClocks()

    def set_age(epoch: object) -> StandingClocks:
        if epoch is not None:
            times.age = max(times.age, epoch.age)
        return times

    chosen = SpoolOptions(
        directory, upstreams or (wanted(),), threads=threads, ballast_bytes=ballast_bytes, **options
    )
    return open_spool(chosen, set_age, machine=machine, device=device)


def database_of(spool: Spool) -> Database:
    """The writing side of an open spool."""
    return spool._writer._committer._database


def chunk(
    events: int = 3,
    *,
    dialect: str = "samsara",
    product: str = "",
    remote_address: str = "",
    pad: int = 0,
    gzip: bool = False,
    received_at: int = 1_800_000_000_000,
    body: bytes | None = None,
    numbers: Iterator[int] = _numbers,
) -> NewChunk:
    """One request; each event in it is another than any before, and has `pad` bytes more.

    `numbers` tell the events apart, for who needs them to be the same again.
    """
    if body is None:
        body = json.dumps(
            [
                {
                    "timestamp": 1,
                    "sourceId": "till",
                    "eventName": "sold",
                    "n": next(numbers),
                    "pad": "x" * pad,
                }
                for _ in range(events)
            ]
        ).encode()
    if gzip:
        packer = zlib.compressobj(wbits=31)
        body = packer.compress(body) + packer.flush()
    return NewChunk(
        dialect=dialect,
        product=product,
        remote_address=remote_address,
        received_at=received_at,
        published_at=None,
        events=events,
        encoding="gzip" if gzip else "",
        body=body,
    )


def bulk(size: int, *, events: int = 1) -> NewChunk:
    """A chunk that takes about `size` bytes in the spool, since it does not compress again."""
    return NewChunk("samsara", "", "", 1_800_000_000_000, None, events, "gzip", b"\x5a" * size)


async def accept(spool: Spool, *chunks: NewChunk) -> None:
    """Submit chunks together and wait until all are on disk."""
    tickets = [spool.submit(chunk) for chunk in chunks]
    for ticket in tickets:
        await ticket.committed()


async def accept_together(
    spool: Spool, chunks: Sequence[NewChunk], work: Callable[[sqlite3.Connection], T] | None = None
) -> tuple[list[SpoolFull | None], T | None]:
    """Have chunks share one commit, as those do that come while the disk is busy; and work, where given.

    Returns:
        Why each chunk was refused, or None; and what the work returned.
    """
    writer = spool._writer
    writer._busy = True  # what is put waits
    places: list[Ticket | SpoolFull] = []
    for new in chunks:
        try:
            places.append(spool.submit(new))
        except SpoolFull as refusal:
            places.append(refusal)
    done: ResultTicket[T] = ResultTicket()
    if work is not None:

        def run(connection: sqlite3.Connection) -> None:
            done.result = work(connection)

        writer.put(Work(run, done))
    group = [*writer._waiting]
    writer._waiting.clear()
    writer._busy = False
    if group:
        writer._committer.commit(group)()
    refusals: list[SpoolFull | None] = []
    for place in places:
        try:
            if not isinstance(place, SpoolFull):
                await place.committed()
            refusals.append(place if isinstance(place, SpoolFull) else None)
        except SpoolFull as refusal:
            refusals.append(refusal)
    if work is not None:
        await done.committed()
    return refusals, done.result


async def query(spool: Spool, sql: str, *values: object) -> list[tuple]:
    return await spool.read(lambda connection: connection.execute(sql, values).fetchall())


async def change(spool: Spool, sql: str, *values: object) -> None:
    """Write past all of the spool's rules."""
    await spool.write(lambda connection: connection.execute(sql, values) and None)


async def lane_of(spool: Spool, name: str = "main/samsara") -> Lane:
    return next(lane for lane in await spool.read(read.lanes) if lane.name == name)


async def ledger(spool: Spool, name: str = "main/samsara") -> dict[str, int]:
    """What became of a lane's events, over all days; what is 0 is left out."""
    lane = await lane_of(spool, name)
    columns = ("accepted", "pending", *FATES, "outcome_unknown")
    sums = ", ".join(f"sum({column})" for column in columns)
    (row,) = await query(spool, f"SELECT {sums} FROM ledger WHERE lane = ?", lane.id)  # noqa: S608
    return {column: count for column, count in zip(columns, row, strict=True) if count}


def next_run(
    connection: sqlite3.Connection, lane: Lane, *, max_events: int = 1000, end_position: int | None = None
) -> Run | None:
    """The events that stand at a lane's cursor."""
    bounds = choosing.Bounds(max_events=max_events, max_bytes=1 << 40, end_position=end_position)
    with closing(
        read.chunks(connection, lane.stream, from_seq=lane.cursor_seq, end_seq=lane.end_seq)
    ) as chunks:
        return choosing.choose(chunks, index=lane.cursor_index, bounds=bounds)


def batch_of(connection: sqlite3.Connection, lane: Lane, run: Run, *, batch_id: str = "") -> SealedBatch:
    """A run as a batch that has yet to be sealed."""
    epoch, device = read.epoch(connection)
    options = batches.Options()
    context = rendering.Context(rendering.RENDERER, options, epoch, lane.dialect, lane.product)
    return batches.SealedBatch(
        id=batch_id or f"{next(_numbers):032x}",
        lane=lane.id,
        lane_name=lane.name,
        epoch=epoch,
        device=device,
        dialect=lane.dialect,
        product=lane.product,
        remote_address=run.remote_address,
        first=run.first,
        last=run.last,
        first_seq=run.pieces[0].chunk.seq,
        first_index=run.pieces[0].start,
        end_seq=run.end_seq,
        end_index=run.end_index,
        body_sha256=hashlib.sha256(rendering.render(run, context)).digest(),
        renderer=rendering.RENDERER,
        options=options,
    )


def positions(connection: sqlite3.Connection, lane: Lane) -> list[int]:
    """The positions of all events that a lane has still to send, as reading finds them, in order."""
    found: list[int] = []
    index, at = lane.cursor_index, lane.cursor_seq
    gaps = connection.execute(
        "SELECT from_seq, to_seq FROM absence WHERE lane = ? ORDER BY from_seq", (lane.id,)
    ).fetchall()
    for end, resume in [*gaps, (None, None)]:
        with closing(read.chunks(connection, lane.stream, from_seq=at, end_seq=end)) as chunks:
            for stored in chunks:
                found += range(stored.first_position + index, stored.first_position + stored.events)
                index = 0
        if resume is None:
            return found
        at = resume
    return found


def snapshot(directory: Path, target: Path) -> Path:
    """What a process that died this moment would leave: the files as they are."""
    target.mkdir(parents=True)
    for suffix in ("", "-wal"):
        file = directory / f"{DATABASE_FILE}{suffix}"
        if file.exists():
            shutil.copyfile(file, target / file.name)
    return target
