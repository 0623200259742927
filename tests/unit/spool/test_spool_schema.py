from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from collector.spool import schema
from collector.spool.database import Database

FIXTURES = Path(__file__).parents[2] / "fixtures"


def dump(connection: sqlite3.Connection) -> str:
    """The database's own tables and indexes, as SQL."""
    rows = connection.execute(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'"
        " AND name <> '_sqlite_migrations' ORDER BY rowid"
    ).fetchall()
    return "".join(f"{sql};\n" for (sql,) in rows)


def test_a_fresh_spool_has_the_released_tables(tmp_path):
    database = Database(tmp_path / "spool.db")
    assert dump(database.connection) == (FIXTURES / "spool-0001.sql").read_text()
    assert database.migrated
    assert schema.applied(database.connection) == ("0001_first_tables",)
    database.close()


def test_a_spool_that_is_up_to_date_is_not_migrated_again(tmp_path):
    Database(tmp_path / "spool.db").close()
    database = Database(tmp_path / "spool.db")
    assert not database.migrated
    database.close()


def test_a_change_that_fails_leaves_the_spool_as_it_was(tmp_path, monkeypatch):
    Database(tmp_path / "spool.db").close()

    def half(db):
        db.conn.execute("CREATE TABLE half (x)")
        raise sqlite3.OperationalError("disk I/O error")

    def good(db):
        db.conn.execute("CREATE TABLE good (x)")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "CHANGES", {**schema.CHANGES, "0002_good": good, "0003_half": half})
        with pytest.raises(Exception, match="disk I/O error"):
            Database(tmp_path / "spool.db")
    database = Database(tmp_path / "spool.db")
    assert dump(database.connection) == (FIXTURES / "spool-0001.sql").read_text()
    monkeypatch.setattr(schema, "CHANGES", {**schema.CHANGES, "0002_good": good})
    database.close()
    database = Database(tmp_path / "spool.db")
    assert schema.applied(database.connection) == ("0001_first_tables", "0002_good")
    database.close()


STREAM = "INSERT INTO stream (id, dialect, product) VALUES (1, 'samsara', '')"


@pytest.mark.parametrize(
    ("sql", "refused"),
    [
        ("INSERT INTO counts (day, lane, stream) VALUES (5, 1, 1)", "FOREIGN KEY"),
        ("INSERT INTO counts (day, lane, stream) VALUES (5, 0, 2)", "FOREIGN KEY"),
        ("INSERT INTO counts (day, lane, stream, accepted) VALUES (5, 0, 1, 1)", "CHECK"),
        ("INSERT INTO counts (day, lane, stream, pending, dead) VALUES (5, 0, 1, -1, 1)", "CHECK"),
        ("INSERT INTO counts (day, lane, stream, events) VALUES (5, 0, 1, NULL)", "NOT NULL"),
        ("INSERT INTO counts (day, lane, stream, events) VALUES (5, 0, 1, 1)", ""),
    ],
)
def test_what_is_counted_of_nothing_or_does_not_add_up_is_refused(tmp_path, sql, refused):
    database = Database(tmp_path / "spool.db")
    database.connection.execute(STREAM)
    if refused:
        with pytest.raises(sqlite3.IntegrityError, match=refused):
            database.connection.execute(sql)
    else:
        database.connection.execute(sql)
    database.close()
