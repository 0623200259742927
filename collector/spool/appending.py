"""Appending in one step: the chunk rows of a commit, and all that is counted of them, by one statement.

Python gives its lock away for each step of a statement, and has to win it back from a busy event
loop after it: with six statements a commit that took longer than the sync. So a view of this
connection alone stands for the tables, its triggers do the work of each row, and outside of a
transaction the statement is one: what SQLite does, and the sync, happen without Python's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.spool.tables import END_DAY

if TYPE_CHECKING:
    import sqlite3

ROWS_A_STATEMENT = 128
"""At most: each number of rows is prepared once, and kept."""

_CHUNK, _COUNTS = 1, 2

_COLUMNS = (
    "seq, stream, boot, day, accepted_age, received_at, published_at, uid, remote_address,"
    " events, first_position, encoding, checksum, body"
)
_WIDTH = 15
_NAMES = tuple("abcdefghijklmno")

_SCRIPT = f"""
CREATE TEMP VIEW appending AS SELECT {", ".join(f"NULL AS {name}" for name in _NAMES)};
CREATE TEMP TRIGGER append_chunk INSTEAD OF INSERT ON appending WHEN new.a = {_CHUNK} BEGIN
    INSERT INTO chunk ({_COLUMNS}) VALUES ({", ".join(f"new.{name}" for name in _NAMES[1:])});
END;
CREATE TEMP TRIGGER append_counts INSTEAD OF INSERT ON appending WHEN new.a = {_COUNTS} BEGIN
    INSERT INTO counts (day, lane, stream, accepted, pending, requests, events,
            next_position, stored_bytes, last_seq)
        VALUES (new.b, new.c, new.d, new.e, new.e, new.f, new.g, new.h, new.i, new.j)
        ON CONFLICT DO UPDATE SET accepted = accepted + excluded.accepted,
            pending = pending + excluded.pending,
            requests = requests + excluded.requests, events = events + excluded.events,
            next_position = max(next_position, excluded.next_position),
            stored_bytes = max(stored_bytes, excluded.stored_bytes),
            last_seq = max(last_seq, excluded.last_seq);
END;
"""  # noqa: S608 (made of constants)

_ROW = f"({', '.join('?' * _WIDTH)})"
_STEPS = (*range(1, 8), *range(8, 64, 4), *range(64, ROWS_A_STATEMENT + 1, 16))
"""Numbers of rows that there is a statement for; rows that nothing is made of fill them up."""

_STATEMENTS = {rows: f"INSERT INTO appending VALUES {', '.join([_ROW] * rows)}" for rows in _STEPS}  # noqa: S608
_STEP_FOR = tuple(next(step for step in _STEPS if step >= rows) for rows in range(ROWS_A_STATEMENT + 1))
_REST = (None,) * (_WIDTH - 10)


def prepare(connection: sqlite3.Connection) -> None:
    """Make the view; once for a connection."""
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.executescript(_SCRIPT)


class Rows:
    """What is to be appended, in order."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: list[object] = []

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._values) // _WIDTH

    def add_chunk(self, row: tuple[object, ...]) -> None:
        """Add a chunk's row: its values from `seq` to `body`."""
        self._values.append(_CHUNK)
        self._values += row

    def set_end(self, stream: int, *, next_position: int, stored_bytes: int, last_seq: int) -> None:
        """Set where a stream goes on."""
        self._values += (_COUNTS, END_DAY, 0, stream, 0, 0, 0, next_position, stored_bytes, last_seq, *_REST)

    def count_intake(self, stream: int, day: int, requests: int, events: int) -> None:
        """Count what was received."""
        self._values += (_COUNTS, day, 0, stream, 0, requests, events, 0, 0, 0, *_REST)

    def count_accepted(self, lane: int, stream: int, day: int, events: int) -> None:
        """Count what a lane has got."""
        self._values += (_COUNTS, day, lane, stream, events, 0, 0, 0, 0, 0, *_REST)

    def append(self, connection: sqlite3.Connection) -> None:
        """Append them: outside of a transaction that is one of its own if there are few enough."""
        values = self._values
        most = ROWS_A_STATEMENT * _WIDTH
        for at in range(0, len(values), most):
            some = values[at : at + most] if len(values) > most else values
            rows = len(some) // _WIDTH
            step = _STEP_FOR[rows]
            some += (None,) * ((step - rows) * _WIDTH)
            connection.execute(_STATEMENTS[step], some)
