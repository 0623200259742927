"""Disks that fail when they are told to."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collector.spool.database import Database


APPEND = "INSERT INTO chunk"
"""How a statement begins that appends."""


class FailingConnection:
    """A connection to a database whose disk fails.

    Attributes:
        failing: beginnings of statements that fail; until they are taken out again.
        statements: what was executed, in order.
    """

    def __init__(self, connection: sqlite3.Connection, *failing: str) -> None:
        self._connection = connection
        self.failing = set(failing)
        self.statements: list[str] = []

    def execute(self, sql: str, parameters: tuple = ()) -> sqlite3.Cursor:
        self.statements.append(sql)
        if sql.startswith(tuple(self.failing)):
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(sql, parameters)

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


def let_fail(database: Database, *failing: str) -> FailingConnection:
    """Put a failing connection in place of a database's own."""
    connection = FailingConnection(database.connection, *failing)
    database.connection = connection
    return connection
