"""Salvage: a new spool from what can be read of a damaged one.

The damaged files are set aside and stay as they are. A copy of them is read, row by row, into
a new database under a new epoch, which takes their place when it is whole and synced. A
death at any moment leads to a salvage anew, from the same files.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from collector.errors import SpoolDamaged, SpoolNoSpace
from collector.spool import aside, books, examine, extents, image, journal, rebuild, schema, scraps
from collector.spool.database import PAGE_BYTES
from collector.spool.journal import Salvaged
from collector.spool.names import Names
from collector.spool.rowids import DamagedTable
from collector.spool.stages import READING, untold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.spool.aside import Marker, Places
    from collector.spool.examine import Table
    from collector.spool.rowids import Row
    from collector.spool.stages import Told
    from collector.spool.upstreams import Wanted

SPARE_BYTES = 4 << 20

_LIKELY = 1 << 53
"""No count, position or time ever comes near it."""

_COUNTED = frozenset({"stream", "lane", "age_clock", "stop"})
"""Tables all of whose numbers are counts, positions or times since a start. So are those of `counts`,
but of lanes' rows there what is likely can be used."""

ALL = examine.LARGE | examine.SMALL
_RETREATS: tuple[tuple[frozenset[str], str | None], ...] = (
    (frozenset(), "not all could be put together, so the copies of the names were left out"),
    (frozenset({"name_copy"}), "that was not enough, so only requests and names were taken"),
    (ALL - {"chunk", "name_copy"}, "nothing could be put together"),
    (ALL, None),
)
"""The tables that are skipped, in one attempt after another, and what is told where it fails. A
spool that could not be salvaged at all would keep the daemon from ever starting."""

_SURPRISES = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError, struct.error)
_DISK_CODES = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
)

_MADE_ANEW = frozenset({"counts", "batch", "chunk", "extent"})


def salvage(
    places: Places, reason: str, upstreams: Sequence[Wanted], now: int, told: Told = untold
) -> Salvaged:
    """Set a damaged spool aside, and put what can be saved of it in its place.

    Args:
        places: where.
        reason: what is damaged.
        upstreams: those of the configuration, for lanes that cannot be read.
        now: ms since 1970.
        told: how far it is.

    Raises:
        SpoolUnavailable: there is no room for it.
        OSError: the disk refused; so does `sqlite3.Error`.
    """
    aside.clear(places)
    _check_room(places)
    marker = aside.set_aside(places, reason, now=now)
    _fresh(places.fresh).close()
    damaged = places.aside(marker.name)
    notes = image.build(damaged, places.image, fresh=places.fresh, page_bytes=PAGE_BYTES, told=told)
    for skipped, cause in _RETREATS:
        try:
            salvaged = _rebuild(places, marker, upstreams, now, notes, skipped, told)
            break
        except (OSError, sqlite3.Error, SpoolDamaged, *_SURPRISES) as error:
            if cause is None or _of_the_disk(error):
                raise
            notes.append(f"{cause} ({type(error).__name__}: {error})")
    aside.put_in_place(places)
    aside.finish(places)
    return salvaged


def _rebuild(
    places: Places,
    marker: Marker,
    upstreams: Sequence[Wanted],
    now: int,
    notes: Sequence[str],
    skipped: frozenset[str],
    told: Told,
) -> Salvaged:
    """Make the new database, of all tables but those that are skipped."""
    places.fresh.unlink()
    with (
        closing(_fresh(places.fresh)) as target,
        closing(sqlite3.connect(places.image, isolation_level=None)) as source,
    ):
        source.execute("PRAGMA query_only=ON")
        source.execute("PRAGMA cell_size_check=ON")
        target.execute("BEGIN")
        salvaged = _Salvage(source, target, upstreams, now, [*notes], skipped, told).run(places, marker)
        target.execute("COMMIT")
        examine.examine(target)
    return salvaged


def _of_the_disk(error: Exception) -> bool:
    """Whether trying with less would not help."""
    code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    return isinstance(error, OSError) or code in _DISK_CODES


def _check_room(places: Places) -> None:
    """Salvaging takes two copies for a while: better to say so than to run into it.

    Raises:
        SpoolNoSpace: they do not fit.
    """
    marker = aside.read_marker(places)
    databases = [places.database, *([places.aside(marker.name)] if marker and marker.name else [])]
    files = [Path(f"{database}{suffix}") for database in databases for suffix in ("", "-wal")]
    needed = 2 * sum(file.stat().st_size for file in files if file.exists()) + SPARE_BYTES
    free = shutil.disk_usage(places.database.parent).free
    if free < needed:
        raise SpoolNoSpace(
            f"it is damaged, and salvaging it takes {needed >> 20} MiB while {free >> 20} are free; make room"
        )


def _fresh(path: Path) -> sqlite3.Connection:
    """An empty spool, which is synced when it is whole."""
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("PRAGMA journal_mode=MEMORY")
    connection.execute("PRAGMA synchronous=OFF")
    schema.migrate(connection, path=str(path))
    return connection


@dataclass(slots=True)
class _Salvage:
    """One salvage, from a damaged database to a fresh one."""

    source: sqlite3.Connection
    target: sqlite3.Connection
    upstreams: Sequence[Wanted]
    now: int
    notes: list[str]
    skipped: frozenset[str]
    told: Told
    broken: set[str] = field(default_factory=set)

    def run(self, places: Places, marker: Marker) -> Salvaged:
        """Do it."""
        tables = {table.name: table for table in examine.tables(self.target)}
        copies = {
            (str(kind), number): (str(first), str(second))
            for kind, number, first, second in self._rows(tables["name_copy"])
            if isinstance(number, int) and kind in examine.NAMED
        }
        for table in tables.values():
            if table.name not in _MADE_ANEW:
                self._copy(table)
        self._copy_chunks(tables["chunk"], places)
        ledger = self._copy_counts(tables["counts"])
        names = Names(self.target, self.upstreams, self.now, self.notes, self.broken, copies)
        epoch = names.begin_epoch()
        names.restore()
        names.drop_strays()
        names.adopt()
        rebuild.settle_age(self.target)
        tally = books.Tally()
        rebuild.number_letters_on(self.target, self._last_letter())
        extents.make_anew(self.target)
        rebuild.settle_streams(self.target)
        rebuild.settle_intake(self.target, known="stream" not in self.broken or "counts" in self.broken)
        lanes = self.target.execute(
            "SELECT lane.id, next_position FROM lane JOIN stream_end USING (stream)"
        ).fetchall()
        for lane, next_position in lanes:
            rows = ledger.get(lane, {})
            shaky = [day for day, row in rows.items() if not books.sound(row, at_most=next_position)]
            if shaky:
                self.broken.add("counts")
            rebuild.settle_lane(self.target, lane, rows, tally)
        rebuild.release_unneeded(self.target)
        for name in sorted(self.broken):
            self.notes.append(f"table {name} could not be read whole")
        chunks, events = self.target.execute(
            "SELECT count(*), coalesce(sum(events), 0) FROM chunk"
        ).fetchone()
        notes = tuple(dict.fromkeys(self.notes))
        salvaged = Salvaged(
            reason=marker.reason,
            set_aside=marker.name,
            chunks=chunks,
            events=events,
            damaged=tally.damaged,
            notes=notes,
        )
        journal.keep(self.target, salvaged, epoch=epoch, now=self.now)
        return salvaged

    def _rows(self, table: Table) -> Iterable[Row]:
        """The rows that can be read, each as the fresh database's table has it."""
        found = None if table.name in self.skipped else _described(self.source, table.name)
        if found is None:
            self.broken.add(table.name)
            return
        reading = DamagedTable(self.source, found)
        for row in reading.rows():
            values = dict(zip(found.columns, row, strict=True))
            if table.name not in _COUNTED or all(map(_likely, row)):
                yield tuple(values[column] for column in table.columns if column in values)
        if reading.damaged:
            self.broken.add(table.name)

    def _insertion(self, table: Table) -> str:
        found = _described(self.source, table.name)
        columns = [column for column in table.columns if found is None or column in found.columns]
        places = ", ".join("?" for _ in columns)
        return f"INSERT OR IGNORE INTO {table.name} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608

    def _copy(self, table: Table) -> None:
        self.target.executemany(self._insertion(table), self._rows(table))

    def _copy_chunks(self, table: Table, places: Places) -> None:
        found = _described(self.source, table.name) or table
        bad = 0
        insertion = self._insertion(table)
        body = table.columns.index("body")
        done, size = 0, places.image.stat().st_size
        for row in self._rows(table):
            self.told(READING, done, size)
            done += len(stored) if isinstance(stored := row[body], bytes) else 0
            if scraps.verifies(found, row):
                self.target.execute(insertion, row)
            else:
                bad += 1
        if bad:
            self.notes.append(f"{bad} chunks did not fit their checksums")
        if (self.broken & {"chunk", "stream", "lane"} or bad) and table.name not in self.skipped:
            before = self.target.total_changes
            self.target.executemany(insertion, scraps.chunks(places.image, found, page_bytes=PAGE_BYTES))
            scrapped = self.target.total_changes - before
            if scrapped:
                self.notes.append(f"{scrapped} chunks were found page by page")
        dropped = rebuild.drop_contradictions(self.target)
        if dropped:
            self.notes.append(f"{dropped} chunks contradicted those before them")

    def _copy_counts(self, table: Table) -> books.Ledger:
        """Copy what is counted of streams; what is counted of lanes is given back, by lane and day."""
        ledger: books.Ledger = {}
        insertion = self._insertion(table)
        for row in self._rows(table):
            named = zip(table.columns, row, strict=True)
            values = {column: value for column, value in named if isinstance(value, int)}
            if values["lane"]:
                books.take_up(values, ledger)
            elif all(map(_likely, row)):
                self.target.execute(insertion, row)
        return ledger

    def _last_letter(self) -> int:
        """The number of the last dead letter there ever was, where that can be read."""
        try:
            row = self.source.execute(
                "SELECT max(seq) FROM sqlite_sequence WHERE name = 'dead_letter'"
            ).fetchone()
        except sqlite3.DatabaseError:
            return 0
        number = row[0] if row else 0
        return number if isinstance(number, int) and 0 <= number < _LIKELY else 0


def _described(connection: sqlite3.Connection, name: str) -> Table | None:
    try:
        found = examine.table(connection, name)
    except (sqlite3.Error, TypeError):
        return None
    return found if found.columns else None


def _likely(value: object) -> bool:
    return not isinstance(value, int) or 0 <= value < _LIKELY
