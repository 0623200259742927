"""Reading what can be read of a damaged table."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.spool.examine import Table

WINDOW = 1024
"""Row numbers that are asked for at a time; where that fails, half of them, and so on."""

MAX_FAILURES = 4000
"""Queries that may fail. A page that fails costs some for each of its rows; where the whole table
fails there is no end to it. Chunks that are not come by so are looked for page by page."""

Row = tuple[int | str | bytes | None, ...]


class DamagedTable:
    """The rows of a table that can be read and are of the types that it should hold.

    Attributes:
        failures: queries that failed.
        misfits: rows whose values were never written so.
    """

    def __init__(self, connection: sqlite3.Connection, table: Table) -> None:
        self._connection = connection
        self._table = table
        self.failures = 0
        self.misfits = 0
        connection.text_factory = _text

    @property
    def damaged(self) -> bool:
        """Whether anything was amiss."""
        return self.failures + self.misfits > 0

    def rows(self) -> Iterator[Row]:
        """The rows: by row number where there is one, else from both ends."""
        for row in self._by_number() if self._table.rowid else self._from_both_ends():
            if self._table.fits(row):
                yield row
            else:
                self.misfits += 1

    def _by_number(self) -> Iterator[Row]:
        number, name = self._table.rowid, self._table.name
        at = 1
        while self.failures < MAX_FAILURES:
            try:
                # Over what is not there, at once.
                following = self._connection.execute(
                    f"SELECT {number} FROM {name} WHERE {number} >= ? ORDER BY {number} LIMIT 1",  # noqa: S608
                    (at,),
                ).fetchone()
            except sqlite3.DatabaseError:
                self.failures += 1
            else:
                if following is None:
                    return
                at = max(at, following[0])
            yield from self._between(at, at + WINDOW - 1)
            at += WINDOW

    def _between(self, low: int, high: int) -> Iterator[Row]:
        number = self._table.rowid
        query = f"{self._table.selection} WHERE {number} BETWEEN ? AND ? ORDER BY {number}"
        place = self._table.columns.index(number)
        ranges = [(low, high)]
        while ranges and self.failures < MAX_FAILURES:
            first, last = ranges.pop()
            try:
                for row in self._connection.execute(query, (first, last)):
                    yield row
                    first = row[place] + 1
            except sqlite3.DatabaseError:
                self.failures += 1
            else:
                continue
            if first < last:
                middle = (first + last) // 2
                ranges += [(middle + 1, last), (first, middle)]

    def _from_both_ends(self) -> Iterator[Row]:
        seen: set[Row] = set()
        places = [self._table.columns.index(column) for column in self._table.key]
        for order in ("ASC", "DESC"):
            by = ", ".join(f"{column} {order}" for column in self._table.key)
            try:
                for row in self._connection.execute(f"{self._table.selection} ORDER BY {by}"):
                    key = tuple(row[place] for place in places)
                    if key not in seen:
                        seen.add(key)
                        yield row
            except sqlite3.DatabaseError:
                self.failures += 1
            else:
                return


def _text(value: bytes) -> str | bytes:
    """Text where it is text; what is not then does not fit its column."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
