"""The spool's schema: bringing a database up to this release's, and what it should be."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.errors import SpoolDamaged, SpoolTooNew
from collector.spool.tables import first_tables

if TYPE_CHECKING:
    from collections.abc import Iterable


MIGRATION_SET = "spool"
FIRST = "0001_first_tables"

CHANGES = {FIRST: first_tables}
"""Every change ever released, in order, by name; none is ever edited."""


def applied(connection: sqlite3.Connection) -> tuple[str, ...]:
    """The changes that the database has, in order."""
    table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone()
    if table is None:
        return ()
    rows = connection.execute(
        "SELECT name FROM _sqlite_migrations WHERE migration_set = ? ORDER BY rowid", (MIGRATION_SET,)
    )
    return tuple(name for (name,) in rows)


def migrate(connection: sqlite3.Connection, *, path: str) -> bool:
    """Bring a database up to this release, in one transaction.

    Returns:
        Whether there was anything to do.

    Raises:
        SpoolTooNew: the database has changes that this release does not know.
    """
    present = applied(connection)
    unknown = tuple(name for name in present if name not in CHANGES)
    if unknown:
        # A later release knows all of this one's changes, and has more behind them.
        if present[: len(CHANGES)] != tuple(CHANGES):
            raise SpoolDamaged(f"the names of its changes are garbled: {', '.join(unknown)}")
        raise SpoolTooNew(path=path, unknown=unknown)
    if len(present) == len(CHANGES):
        return False
    # Imported here alone: most starts have nothing to migrate, and it takes a third of a second.
    from sqlite_utils import Database, Migrations  # noqa: PLC0415

    migrations = Migrations(MIGRATION_SET)
    for name, change in CHANGES.items():
        migrations(name=name)(change)
    database = Database(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Each change nests as a savepoint, so an upgrade over several releases is one transaction.
        migrations.apply(database)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return True


@dataclass(frozen=True, slots=True)
class _Bare:
    """A connection as the changes ask for it."""

    conn: sqlite3.Connection


def described(connection: sqlite3.Connection) -> frozenset[tuple[str, str]]:
    """Name and definition of all that the changes have made."""
    return frozenset(
        connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'"
            " AND name NOT LIKE '%_sqlite_migrations%'"
        ).fetchall()
    )


def reference(names: Iterable[str]) -> frozenset[tuple[str, str]]:
    """What a database that has these changes is made of."""
    connection = sqlite3.connect(":memory:")
    try:
        for name in names:
            CHANGES[name](_Bare(connection))
        return described(connection)
    finally:
        connection.close()
