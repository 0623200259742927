"""A spool as a release leaves it, whole, as SQL: what later releases must open.

    python tests/fakes/released_spool.py > tests/fixtures/released-0001.sql

writes the one of this release. Once that is released the file is never written again.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import sqlite3

import trio
from fakes.clocks import A_DAY, StandingClocks
from fakes.spools import PRODUCT, accept, batch_of, chunk, lane_of, next_run, snapshot, spool_in, wanted

from collector.spool import settle
from collector.spool.database import PAGE_BYTES
from collector.spool.directory import DATABASE_FILE
from collector.spool.passage import Passage


async def leave(directory: Path) -> None:
    """Live a little: every table but `absence` and `stop` has rows at the end."""
    clocks = StandingClocks(wall=60_000, good=False)
    async with spool_in(directory, wanted("main"), wanted("second"), clocks=clocks) as spool:
        await accept(spool, chunk(2, received_at=clocks.wall))
        clocks.wall, clocks.good, clocks.confirmed = 1_800_000_000_000, True, True
        await accept(spool, chunk(3, received_at=clocks.wall, pad=2000))
        await accept(spool, chunk(2, received_at=clocks.wall, gzip=True))
        events = b'[{"eventType":"e","clientTimestamp":"2027-01-15T08:00:00.000000+00:00","data":{}}]'
        address = "10.0.0.7"
        new = chunk(1, dialect="traintracks", product=PRODUCT, remote_address=address, body=events)
        await accept(spool, new)
        clocks.pass_time(A_DAY)
        await spool.maintain()
        delivered, run = await _seal(spool, "main/samsara", 3)
        settled = partial(settle.delivered, batch=delivered, run=run, learned_limit=None, now=clocks.wall)
        await spool.write(partial(settled, settled=None))
        await _bury(spool, clocks.wall)
        refused, _ = await _seal(spool, "main/samsara", 2)
        await spool.write(
            partial(
                settle.postponed,
                batch=refused,
                state="retrying",
                reason="http 503 Service Unavailable",
                status=503,
                next_attempt_at=clocks.wall + 5000,
                now=clocks.wall,
            )
        )
        snapshot(directory, directory / "left")


async def _seal(spool, name, max_events):
    lane = await lane_of(spool, name)
    run = await spool.read(partial(next_run, lane=lane, max_events=max_events))
    batch = await spool.read(partial(batch_of, lane=lane, run=run))
    assert await spool.write(partial(settle.seal, batch=batch, now=1))
    return batch, run


async def _bury(spool, now):
    batch, run = await _seal(spool, "main/samsara", 1)
    ((piece,), event) = run.pieces, run.pieces[0].events[0]
    letter = settle.DeadLetter(
        run.first, piece.chunk.day, piece.chunk.received_at, None, "", "refused", 400, "no", event
    )
    burying = partial(settle.buried, lane=batch.lane, letter=letter, passage=Passage.of(run), now=now)
    assert await spool.write(partial(burying, epoch=batch.epoch, batch=batch))


def dump(directory: Path) -> str:
    """A spool's database, with what is in its log, as SQL."""
    with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
        return "\n".join(connection.iterdump()) + "\n"


def load(sql: str, directory: Path) -> None:
    """Make a spool from SQL."""
    directory.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
        connection.executescript(f"PRAGMA page_size={PAGE_BYTES}; PRAGMA auto_vacuum=INCREMENTAL;")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(sql)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as path:
        trio.run(leave, Path(path))
        sys.stdout.write(dump(Path(path) / "left"))
