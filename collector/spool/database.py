"""The spool's database: how it is opened, and what happens when a commit fails.

One connection writes and checkpoints, for one thread at a time; SQLite before 3.51.3 can corrupt
a WAL when two do. Others only read.

A failed fsync
--------------
When the sync of a commit fails, its frames may be in the WAL all the same: a process that
died now would find them again at its next start, as if they had been committed, while what
was appended behind them could be lost. So after any failed commit nothing more is
appended to that WAL. It is rolled back, and a checkpoint that empties the WAL must succeed
before the next commit; until then each commit fails at once. Reopening is no cure. The same
checkpoint is the first act of every start.

A full disk
-----------
SQLite says `SQLITE_FULL` only where a write found no room, before the frame that would have
committed was whole. Such frames cannot be taken for committed later, whatever follows them: the
next commit writes over the first of them, and each frame's checksum covers those before it. So
there the log stays in use; with a reader in the way it could not be emptied at all.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from collector.errors import SpoolDamaged, SpoolNoSpace, SpoolUnavailable
from collector.spool import examine, schema
from collector.spool.ballast import has_room
from collector.spool.refusals import cause, found_no_room, may_want_room

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PAGE_BYTES = 8192
"""Larger pages waste less at the ends of chunk bodies: 27 bytes an event where 4 KiB took 41."""

WAL_CHECKPOINT_BYTES = 4 * 1024 * 1024
"""The WAL is checkpointed into the database when it has grown past this."""

KEPT_FREE_PAGES = 512
"""Free pages (4 MiB) that are not given back: traffic takes them again, and each that is given
back may cost writing another one to its place."""

BUSY_SECONDS = 5.0
"""How long a statement waits for a reader of another process."""


class Database:
    """The writing connection. Not thread-safe: it belongs to whoever commits.

    Attributes:
        sync_seconds: what the last COMMIT took.

    Raises:
        SpoolTooNew: the database was written by a later release.
        SpoolDamaged: it is not what was written.
        SpoolUnavailable: it cannot be opened.
    """

    def __init__(self, path: Path, *, durability: Literal["full", "normal"] = "full") -> None:
        self.path = path
        self._wal = Path(f"{path}-wal")
        self._suspect = False
        self.sync_seconds = 0.0
        try:
            _make_private(path)
            self.connection = _connect(path)
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error
        try:
            self._configure(durability)
            self._empty_wal()
            examine.examine(self.connection)
            self.migrated = schema.migrate(self.connection, path=str(path))
        except sqlite3.Error as error:
            self.connection.close()
            raise self._failure(error, about=f"{path}: ") from error
        except UnicodeDecodeError as error:
            # The text of SQLite's error, where it quotes a garbled schema.
            self.connection.close()
            raise SpoolDamaged("its schema is garbled") from error
        except BaseException:
            self.connection.close()
            raise

    def _configure(self, durability: str) -> None:
        execute = self.connection.execute
        # Both must stand before the first table is made.
        execute(f"PRAGMA page_size={PAGE_BYTES}")
        execute("PRAGMA auto_vacuum=INCREMENTAL")
        (mode,) = execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise SpoolUnavailable(f"{self.path} cannot use a write-ahead log (journal mode {mode})")
        execute(f"PRAGMA synchronous={'FULL' if durability == 'full' else 'NORMAL'}")
        # On macOS fsync does not reach the platter; elsewhere these change nothing.
        execute("PRAGMA fullfsync=1")
        execute("PRAGMA checkpoint_fullfsync=1")
        # Debian builds with secure_delete on, which writes each freed page again. The events are
        # not encrypted at rest either way; that is the disk's part.
        execute("PRAGMA secure_delete=OFF")
        execute("PRAGMA foreign_keys=ON")
        execute("PRAGMA cell_size_check=ON")
        execute(f"PRAGMA journal_size_limit={WAL_CHECKPOINT_BYTES}")
        execute(f"PRAGMA wal_autocheckpoint={WAL_CHECKPOINT_BYTES // PAGE_BYTES}")

    @property
    def trusted(self) -> bool:
        """Whether the last commit, or the checkpoint that heals a failed one, succeeded."""
        return not self._suspect

    def commit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction; it is on disk when this returns.

        Raises:
            SpoolUnavailable: nothing of it was kept.
        """
        if self._suspect:
            self._heal()
        connection = self.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            began = time.perf_counter()
            connection.execute("COMMIT")
            self.sync_seconds = time.perf_counter() - began
        except sqlite3.Error as error:
            self._roll_back()
            raise self._refusal(error) from error
        except BaseException:
            self._roll_back()
            raise
        return result

    def _roll_back(self) -> None:
        """Leave the transaction, if SQLite has not; where that fails, healing tries it again."""
        if self.connection.in_transaction:
            try:
                self.connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._suspect = True

    def _refusal(self, error: sqlite3.Error) -> SpoolUnavailable:
        """What a failed write means: the log is suspect, unless there was merely no room."""
        if not found_no_room(error):
            self._suspect = True
        return self._failure(error)

    def _failure(self, error: sqlite3.Error | OSError, *, about: str = "") -> SpoolUnavailable:
        """The error to raise; a full disk shows in more ways than one, so it is asked where in doubt."""
        reason = about + (cause(error) if isinstance(error, sqlite3.Error) else f"{self.path}: {error}")
        if found_no_room(error) or (may_want_room(error) and not has_room(self.path.parent)):
            return SpoolNoSpace(reason)
        if examine.is_damage(error):
            return SpoolDamaged(reason)
        return SpoolUnavailable(reason)

    def _heal(self) -> None:
        self._roll_back()
        try:
            self._empty_wal()
        except sqlite3.Error as error:
            raise self._failure(error) from error
        self._suspect = False

    def _empty_wal(self) -> None:
        busy, _, _ = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise SpoolUnavailable("a reader keeps the write-ahead log from being emptied")

    def used_bytes(self, *, otherwise: int) -> int:
        """Pages that hold data, those in the WAL among them, and the WAL; free pages are reused first.

        Args:
            otherwise: what to return where the disk does not say.
        """
        try:
            (pages,) = self.connection.execute("PRAGMA page_count").fetchone()
            return int(pages - self._free_pages()) * PAGE_BYTES + self.log_bytes()
        except (sqlite3.Error, OSError):
            return otherwise

    def unwritten_bytes(self) -> int:
        """By how much a checkpoint has still to make the database's file longer."""
        try:
            (pages,) = self.connection.execute("PRAGMA page_count").fetchone()
            return max(0, int(pages) * PAGE_BYTES - self.path.stat().st_size)
        except (sqlite3.Error, OSError):
            return self.log_bytes()

    def log_bytes(self) -> int:
        """The WAL file's size."""
        try:
            return os.stat(self._wal).st_size  # noqa: PTH116 (a stat a commit; pathlib takes twice as long)
        except FileNotFoundError:
            return 0

    def shorten_log(self) -> None:
        """Empty the WAL where a large commit has left it longer than it should be.

        Raises:
            SpoolUnavailable: the disk refused.
        """
        if self.log_bytes() > 2 * WAL_CHECKPOINT_BYTES:
            try:
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.Error as error:
                raise self._refusal(error) from error

    def cut_log(self) -> None:
        """The same, for idle times: waits for no reader.

        Raises:
            SpoolUnavailable: the disk refused.
        """
        if self.log_bytes() > WAL_CHECKPOINT_BYTES + PAGE_BYTES:
            self.connection.execute("PRAGMA busy_timeout=0")
            try:
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.Error as error:
                raise self._refusal(error) from error
            finally:
                self.connection.execute(f"PRAGMA busy_timeout={round(BUSY_SECONDS * 1000)}")

    def backfill(self) -> bool:
        """Bring what is in the WAL into the database, as far as readers let it, without waiting for them.

        Returns:
            Whether that was all of it, so that the next commit may write over the WAL from its start.

        Raises:
            SpoolUnavailable: the disk refused.
        """
        if self._suspect:
            self._heal()
        try:
            _, frames, done = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            raise self._refusal(error) from error
        return bool(frames == done)

    def try_out(self) -> None:
        """Commit something that changes nothing, to see that the disk takes it.

        Raises:
            SpoolUnavailable: it does not.
        """
        self.commit(lambda connection: connection.execute("UPDATE epoch SET name = name"))

    def give_back(self, *, pages: int) -> bool:
        """Return up to `pages` free pages to the file system, all but `KEPT_FREE_PAGES`.

        Returns:
            Whether there are more, and no reader keeps the file from becoming shorter.

        Raises:
            SpoolUnavailable: the disk refused.
        """
        if self._suspect:
            self._heal()
        try:
            surplus = self._free_pages() - KEPT_FREE_PAGES
            if surplus <= 0:
                return False
            # `execute` would step the pragma once and free one page.
            self.connection.executescript(f"PRAGMA incremental_vacuum({min(pages, surplus)})")
            _, frames, done = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            raise self._refusal(error) from error
        return bool(surplus > pages and frames == done)

    def _free_pages(self) -> int:
        (free,) = self.connection.execute("PRAGMA freelist_count").fetchone()
        return int(free)

    def close(self) -> None:
        """Close; as the last connection it checkpoints and removes the WAL."""
        self.connection.close()


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, for the reader's thread.

    Raises:
        SpoolUnavailable: it cannot be opened.
    """
    try:
        connection = _connect(path)
    except sqlite3.Error as error:
        raise SpoolUnavailable(f"{path}: {cause(error)}") from error
    try:
        connection.execute("PRAGMA query_only=ON")
    except sqlite3.Error as error:
        connection.close()
        raise SpoolUnavailable(f"{path}: {cause(error)}") from error
    return connection


def _make_private(path: Path) -> None:
    """Make the file, which none but the owner may read; SQLite gives its log the same mode."""
    # Only where there is none: closing a file that SQLite has open would drop its locks.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _connect(path: Path) -> sqlite3.Connection:
    # The thread that opens is not the one that works; each connection still has one owner at a time.
    return sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)
