"""SQLite on a recording disk: apsw's, behind as much of `sqlite3.Connection` as the spool uses.

The standard library's SQLite cannot be given a file system of our own; apsw's can. So the
spool's SQL runs here on the SQLite that apsw brings, and what a crash left is opened
by the standard library's.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
from fakes.disk_model import Disk, Resized, Synced, Written
from fakes.disks import APPEND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

VFS = "recording"
_JOURNAL_FLAGS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
_UNTRACED = ("sqlite_stat", "_sqlite_migrations")

State = dict[str, list[tuple[Any, ...]]]
"""Every row of every table."""


def state(connection: sqlite3.Connection | RecordedConnection) -> State:
    """What a database holds; when a migration was made is left out."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    return {
        name: [tuple(row) for row in connection.execute(f'SELECT * FROM "{name}" ORDER BY 1, 2').fetchall()]  # noqa: S608
        for (name,) in names
        if not name.startswith(_UNTRACED)
    }


@dataclass(frozen=True)
class Commit:
    """A transaction: the operations between which it was committed, and all that it left."""

    began: int
    ended: int
    state: State


class Recording:
    """What SQLite did to a disk, and what it had committed when.

    Attributes:
        commits: in order.
    """

    def __init__(self, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self.commits: list[Commit] = []

    def connect(self, path: Path) -> RecordedConnection:
        return RecordedConnection(apsw.Connection(str(path), vfs=VFS), self)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename, flags: list[int]) -> None:
        super().__init__("", name, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._disk = disk
        self._number = disk.open(Path(path).name)
        # SQLite's own file system syncs the directory with the first sync of a journal or log.
        self._new = bool(flags[0] & _JOURNAL_FLAGS and flags[0] & apsw.SQLITE_OPEN_CREATE)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.operations.append(Written(self._number, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.operations.append(Resized(self._number, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self._disk.operations.append(Synced(self._number, directory=self._new))
        self._new = False


class _FileSystem(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        super().__init__(VFS, "")
        self._disk = disk

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if name is None:  # a temporary file, which no crash brings back
            return apsw.VFSFile("", name, flags)
        return _File(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        self._disk.remove(Path(filename).name, sync=syncdir)


@contextmanager
def recording(
    use: Callable[[Callable[[Path], RecordedConnection]], None], disk: Disk | None = None
) -> Iterator[Recording]:
    """Record what connections do to their disk.

    Args:
        use: has the spool connect so.
    """
    recorded = Recording(disk)
    file_system = _FileSystem(recorded.disk)
    use(recorded.connect)
    try:
        yield recorded
    finally:
        file_system.unregister()


class RecordedCursor:
    """As much of `sqlite3.Cursor` as the spool and sqlite-utils use."""

    def __init__(self, connection: apsw.Connection, sql: str, parameters: object) -> None:
        cursor = self._cursor = connection.cursor()
        self.description: tuple[tuple[Any, ...], ...] | None = None
        # apsw knows the columns while a statement runs, and no longer where it gave no row.
        cursor.exec_trace = self._describe
        cursor.execute(sql, parameters or None)
        cursor.exec_trace = None  # a cycle would keep the statement open
        self.rowcount = connection.changes()
        self.lastrowid = connection.last_insert_rowid()
        self.close = cursor.close
        self.fetchone = cursor.fetchone
        self.fetchall = cursor.fetchall

    def _describe(self, cursor: apsw.Cursor, _sql: str, _parameters: object) -> bool:
        self.description = cursor.get_description() or None
        return True

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._cursor)


class RecordedConnection:
    """As much of `sqlite3.Connection` as the spool and sqlite-utils use."""

    isolation_level = None

    def __init__(self, connection: apsw.Connection, recorded: Recording) -> None:
        self._connection = connection
        self._recorded = recorded
        self._connection.set_busy_timeout(1000)

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> RecordedCursor:
        began = self._recorded.disk.now
        ends = sql == "COMMIT" or (sql.startswith(APPEND) and not self.in_transaction)
        with _as_sqlite3():
            cursor = RecordedCursor(self._connection, sql, parameters)
        if ends and self._recorded.disk.now > began:
            self._recorded.commits.append(Commit(began, self._recorded.disk.now, state(self)))
        return cursor

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        with _as_sqlite3():
            self._connection.executemany(sql, rows)

    def executescript(self, sql: str) -> None:
        with _as_sqlite3():
            for _ in self._connection.execute(sql):
                pass

    def keep_log(self) -> None:
        """Have closing leave the log as it is, as the end of a killed process does."""
        self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _as_sqlite3() -> Iterator[None]:
    try:
        yield
    except apsw.ConstraintError as error:
        raise sqlite3.IntegrityError(str(error)) from error
    except apsw.Error as error:
        raise sqlite3.OperationalError(str(error)) from error
