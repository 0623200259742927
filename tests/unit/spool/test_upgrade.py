"""Every spool that was ever released opens, and goes on where it was left."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from fakes.released_spool import dump, leave, load
from fakes.spools import FATES, accept, chunk, lane_of, next_run, positions, query, spool_in, wanted

from collector.core import rendering
from collector.errors import SpoolUnavailable
from collector.spool import read, schema, settle
from collector.spool.directory import DATABASE_FILE

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures").glob("released-*.sql"))
MAIN, SECOND = "main/samsara", "second/samsara"


@pytest.fixture(params=FIXTURES, ids=[path.stem for path in FIXTURES])
def released(request, tmp_path):
    """A directory with the spool of a release."""
    load(request.param.read_text(encoding="utf-8"), tmp_path)
    return tmp_path


def opened(directory):
    return spool_in(directory, wanted("main"), wanted("second"))


async def test_a_released_spool_goes_on_where_it_was_left(released):
    async with opened(released) as spool:
        assert await query(spool, "SELECT name FROM _sqlite_migrations ORDER BY id") == [
            (name,) for name in schema.CHANGES
        ]
        main, second = await lane_of(spool, MAIN), await lane_of(spool, SECOND)
        assert (main.state, main.failures, main.reason) == ("retrying", 1, "http 503 Service Unavailable")
        assert await spool.read(lambda connection: positions(connection, main)) == [4, 5, 6]
        assert await spool.read(lambda connection: positions(connection, second)) == list(range(7))
        # The sealed batch is made again byte by byte, and its attempts are known.
        sealed = await spool.read(partial(read.outstanding, lane=main))
        run = await spool.read(partial(next_run, lane=main, max_events=sealed.events))
        context = rendering.Context(
            sealed.renderer, sealed.options, sealed.epoch, sealed.dialect, sealed.product
        )
        assert hashlib.sha256(rendering.render(run, context)).digest() == sealed.body_sha256
        assert (sealed.first, sealed.last, sealed.attempts) == (4, 5, 1)
        # It takes and delivers more.
        await accept(spool, chunk(2))
        settled = partial(settle.delivered, batch=sealed, run=run, settled=None, learned_limit=None, now=1)
        assert await spool.write(settled)
        main = await lane_of(spool, MAIN)
        assert await spool.read(lambda connection: positions(connection, main)) == [6, 7, 8]
        sums = ", ".join(f"sum({name})" for name in ("accepted", "pending", *FATES))
        assert await query(spool, f"SELECT {sums} FROM ledger WHERE lane = ?", main.id) == [  # noqa: S608
            (9, 3, 5, 1, 0, 0, 0)
        ]
        assert await query(spool, "SELECT position, reason, status FROM dead_letter") == [(3, "refused", 400)]
        assert spool.epoch.age >= 86_400_000


async def test_a_later_releases_change_and_its_record_are_one_transaction(released, monkeypatch):
    """As the next release will have it: one change more than this one has."""

    def add_column(db):
        db.conn.execute("ALTER TABLE lane ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'")

    def fail(db):
        add_column(db)
        raise sqlite3.OperationalError("disk I/O error")

    before = dump(released)
    monkeypatch.setattr(schema, "CHANGES", {**schema.CHANGES, "0099_colour": fail})
    with pytest.raises(SpoolUnavailable, match="disk I/O error"):
        async with opened(released):
            pass
    assert dump(released) == before
    monkeypatch.setattr(schema, "CHANGES", {**schema.CHANGES, "0099_colour": add_column})
    async with opened(released) as spool:
        assert await query(spool, "SELECT DISTINCT colour FROM lane") == [("red",)]
        await accept(spool, chunk(1))


async def test_the_stored_spool_of_this_release_is_what_it_leaves(tmp_path):
    """Else the fixture has to be made anew, until it was released; after that, a change is missing."""
    await leave(tmp_path)
    made, stored = tmp_path / "left", tmp_path / "stored"
    load(FIXTURES[-1].read_text(encoding="utf-8"), stored)
    assert tables(made) == tables(stored)


def tables(directory):
    """By name, each table's SQL, and how many rows it has."""
    with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: (sql, count(connection, name)) for name, sql in found}


def count(connection, table):
    return connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608
