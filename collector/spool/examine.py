"""Looking for damage at a start, in a time that does not grow with the backlog.

Before SQLite opens the files: the database's size and first bytes, and its log. After: the
schema, every page and value of the small tables, and for each lane the chunk at its cursor and
the last one. What damage there is between is met when it is read; then the process ends,
and the next start salvages.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from collector.errors import SpoolDamaged
from collector.spool import schema, wal
from collector.spool.extents import END, IN_ORDER, LAST_FIRST, chunks_of, growing
from collector.spool.upstreams import WITH_NEXT_ABSENCE, next_seq

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC = b"SQLite format 3\0"
LARGE = frozenset({"chunk", "dead_letter", "extent"})
"""Tables that grow with what is stored; of these only the ends are looked at."""

SMALL = frozenset(
    {"epoch", "boot", "age_clock", "stop", "stream", "counts", "upstream", "lane", "absence", "batch"}
    | {"name_copy", "salvage"}
)
"""Tables that do not; of these every page and value is."""

KEPT_BY_OTHERS = ("sqlite_sequence", "_sqlite_migrations")
"""Small tables that are SQLite's and sqlite-utils' own."""

NAMED = {"stream": ("dialect", "product"), "upstream": ("name", "kind"), "lane": ("upstream", "stream")}
"""What `name_copy` keeps once more, by table."""

_DAMAGE_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def is_damage(error: BaseException) -> bool:
    """Whether an error of SQLite's says that the file is not what was written."""
    return isinstance(error, sqlite3.Error) and (
        (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in _DAMAGE_CODES
    )


def examine_files(path: Path, *, page_bytes: int) -> None:
    """Look at a database and its log before SQLite does; where it finds a log unfit, it deletes it.

    Raises:
        SpoolDamaged: they cannot be what was written.
        OSError: they cannot be read.
    """
    log = wal.scan(Path(f"{path}-wal"), Path(f"{path}-shm"), page_bytes=page_bytes)
    if log.damage:
        raise SpoolDamaged(log.damage)
    size = path.stat().st_size if path.exists() else 0
    if size == 0 and log.frames:
        raise SpoolDamaged("the database is gone, and its write-ahead log is not")
    if size:
        with path.open("rb") as file:
            start = file.read(100)
        if start[: len(MAGIC)] != MAGIC or len(start) < 100:  # noqa: PLR2004 (a database's header)
            raise SpoolDamaged("the file is not a database")


def examine(connection: sqlite3.Connection) -> None:
    """Look for damage in an open database that is not migrated yet.

    Raises:
        SpoolDamaged: there is some.
    """
    try:
        if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None:
            return
        _examine_schema(connection)
        for table in tables(connection):
            if table.name in SMALL:
                _examine_table(connection, table)
        for name in KEPT_BY_OTHERS:
            _check_pages(connection, name)
        _examine_names(connection)
        _examine_counts(connection)
        _examine_chunks(connection)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        # What cannot be decoded is an OperationalError without a code.
        if is_damage(error) or not getattr(error, "sqlite_errorcode", 0):
            raise SpoolDamaged(str(error)) from error
        raise


def _examine_schema(connection: sqlite3.Connection) -> None:
    present = schema.applied(connection)
    if any(name not in schema.CHANGES for name in present):
        return  # the migration knows what to say of it
    found, wanted = schema.described(connection), schema.reference(present)
    if found != wanted:
        names = ", ".join(sorted({name for name, _ in found ^ wanted}))
        raise SpoolDamaged(f"the definition of {names} is not what was written")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the spool.

    Attributes:
        columns: names.
        types: of each column, the declared type and whether it may be NULL.
        key: the columns of its primary key, in order.
        rowid: the column that is its row number; empty for a table without.
    """

    name: str
    columns: tuple[str, ...]
    types: tuple[tuple[str, bool], ...]
    key: tuple[str, ...]
    rowid: str

    def fits(self, row: Sequence[object]) -> bool:
        """Whether a row's values are of the types that the spool writes."""
        return all(_fits(value, *kind) for value, kind in zip(row, self.types, strict=True))

    @property
    def selection(self) -> str:
        """A SELECT of all columns, without its end."""
        return f"SELECT {', '.join(self.columns)} FROM {self.name}"  # noqa: S608 (names of the schema)


_PYTHON_TYPES = {"INTEGER": int, "TEXT": str, "BLOB": bytes}


def _fits(value: object, declared: str, nullable: bool) -> bool:
    if value is None:
        return nullable
    return isinstance(value, _PYTHON_TYPES.get(declared, object))


def tables(connection: sqlite3.Connection) -> list[Table]:
    """The tables that the spool's changes have made, in the order of their making."""
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        " AND name <> '_sqlite_migrations' ORDER BY rowid"
    ).fetchall()
    return [table(connection, name) for (name,) in names]


def table(connection: sqlite3.Connection, name: str) -> Table:
    """One table, as it is defined."""
    info = connection.execute(f"PRAGMA table_info('{name}')").fetchall()
    key = tuple(row[1] for row in sorted(info, key=lambda row: row[5]) if row[5])
    integer_key = len(key) == 1 and next(row[2] for row in info if row[5]) == "INTEGER"
    return Table(
        name=name,
        columns=tuple(row[1] for row in info),
        types=tuple((row[2], not row[3] and row[1] not in key) for row in info),
        key=key,
        rowid=key[0] if integer_key else "",
    )


def _check_pages(connection: sqlite3.Connection, table: str) -> None:
    # Where a table is named, its pages and indexes alone are gone through, and its constraints checked.
    (verdict,) = connection.execute(f"PRAGMA integrity_check('{table}')").fetchone()
    if verdict != "ok":
        raise SpoolDamaged(f"table {table}: {verdict}")


def _examine_table(connection: sqlite3.Connection, table: Table) -> None:
    _check_pages(connection, table.name)
    if not all(map(table.fits, connection.execute(table.selection))):
        raise SpoolDamaged(f"table {table.name} holds what was never written to it")


def _examine_names(connection: sqlite3.Connection) -> None:
    """Compare names with their copies: a flipped bit makes another name of one."""
    for kind, columns in NAMED.items():
        first, second = (f"CAST({kind}.{column} AS TEXT)" for column in columns)
        (differing,) = connection.execute(
            f"SELECT count(*) FROM {kind} LEFT JOIN name_copy AS copy"  # noqa: S608 (names of the schema)
            f" ON copy.kind = '{kind}' AND copy.id = {kind}.id"
            f" WHERE (copy.first, copy.second) IS NOT ({first}, {second})"
        ).fetchone()
        if differing:
            raise SpoolDamaged(f"the names in table {kind} are not those in their copies")


def _examine_counts(connection: sqlite3.Connection) -> None:
    """Compare what is counted twice: positions, and the events that wait."""
    for stream, end, known in connection.execute(
        "SELECT id, next_position, replayed +"
        " (SELECT coalesce(sum(events), 0) FROM intake WHERE intake.stream = id)"
        " FROM stream LEFT JOIN stream_end ON stream = id"
    ):
        if end != known:
            raise SpoolDamaged(f"stream {stream} has given out {end} positions and counted {known} events")
    (strays,) = connection.execute(
        "SELECT count(*) FROM counts LEFT JOIN lane ON lane.id = of_lane"
        " WHERE counts.lane <> 0 AND lane.stream IS NOT counts.stream"
    ).fetchone()
    if strays:
        raise SpoolDamaged(f"{strays} rows of counts are of no lane and its stream")
    # What an absence passes over is not counted by position.
    for lane, ahead, pending in connection.execute(
        "SELECT lane.id, next_position - cursor_position,"
        " (SELECT coalesce(sum(pending), 0) FROM ledger WHERE ledger.lane = lane.id)"
        " FROM lane JOIN stream_end USING (stream)"
        " WHERE NOT EXISTS (SELECT 1 FROM absence WHERE absence.lane = lane.id)"
    ):
        if ahead != pending:
            raise SpoolDamaged(f"lane {lane} has {ahead} events before it, and its ledger {pending}")


def _examine_chunks(connection: sqlite3.Connection) -> None:
    """Read the chunks at both ends, and those at the cursors, and compare the positions."""
    ends = _examine_ends(connection)
    following = next_seq(connection)
    growing(connection, following)
    lanes = connection.execute(
        "SELECT lane.id, stream, cursor_seq, cursor_index, cursor_position,"  # noqa: S608 (made of constants)
        f" from_seq, from_bytes - passed_bytes FROM lane{WITH_NEXT_ABSENCE}"
    ).fetchall()
    for lane, stream, seq, index, position, end, bytes_before in lanes:
        chunk = connection.execute(
            "SELECT seq, first_position, events"  # noqa: S608 (made of constants)
            f" FROM {chunks_of('?1', first='?2', end='?3')} {IN_ORDER} LIMIT 1",
            (stream, seq, END if end is None else end),
        ).fetchone()
        if stream not in ends or position > ends[stream] or seq > following:
            raise SpoolDamaged(f"lane {lane} stands behind the end of its stream")
        if chunk is None:
            if (end is None and position < ends[stream]) or bytes_before:
                raise SpoolDamaged(f"lane {lane} stands at event {position}, and there is no chunk of it")
            continue
        at, first, events = chunk
        inside = index if at == seq else 0
        if first + inside != position or inside >= events:
            raise SpoolDamaged(f"lane {lane} stands at event {position}, its chunk at {first + inside}")


def _examine_outermost(connection: sqlite3.Connection, table: Table) -> None:
    """Look at a table's first and last row, but for what is long."""
    columns = [column for column, (kind, _) in zip(table.columns, table.types, strict=True) if kind != "BLOB"]
    for direction in ("ASC", "DESC"):
        row = connection.execute(
            f"SELECT {', '.join(columns)} FROM {table.name} ORDER BY {table.rowid} {direction} LIMIT 1"  # noqa: S608
        ).fetchone()
        kinds = [kind for kind in table.types if kind[0] != "BLOB"]
        if row is not None and not all(_fits(value, *kind) for value, kind in zip(row, kinds, strict=True)):
            raise SpoolDamaged(f"table {table.name} holds what was never written to it")


def _examine_ends(connection: sqlite3.Connection) -> dict[int, int]:
    """Read the chunks at both ends; each stream's next position."""
    for name in ("chunk", "dead_letter"):
        _examine_outermost(connection, table(connection, name))
    ends: dict[int, int] = {}
    for stream, next_position, last_seq in connection.execute(
        "SELECT stream, next_position, last_seq FROM stream_end"
    ).fetchall():
        ends[stream] = next_position
        last = connection.execute(
            f"SELECT first_position + events, seq FROM {chunks_of('?1')} {LAST_FIRST} LIMIT 1",  # noqa: S608
            (stream,),
        ).fetchone()
        if last is None:
            continue
        end, seq = last
        if end > next_position:
            raise SpoolDamaged(f"stream {stream} has events behind its end")
        if seq > last_seq:
            raise SpoolDamaged(f"chunk {seq} is numbered beyond the last one, {last_seq}")
    return ends
