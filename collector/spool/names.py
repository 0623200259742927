"""Who the rows of a salvaged spool belong to: its epoch, streams, upstreams and lanes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.spool import examine, rebuild

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping, Sequence

    from collector.spool.upstreams import Wanted


@dataclass(frozen=True, slots=True)
class Names:
    """The names in a fresh database.

    Attributes:
        upstreams: those of the configuration.
        now: ms since 1970.
        notes: what was found, for people; is added to.
        broken: the tables that could not be read whole.
        copies: of names, as they were read, by table and row.
    """

    target: sqlite3.Connection
    upstreams: Sequence[Wanted]
    now: int
    notes: list[str]
    broken: Collection[str]
    copies: Mapping[tuple[str, int], tuple[str, str]]

    def begin_epoch(self) -> str:
        """Begin a new epoch, of the same device where that is known."""
        target = self.target
        target.execute(
            "INSERT INTO epoch (number, name, started_at, reason, device, machine)"
            " SELECT DISTINCT epoch, 'unknown-' || epoch, 0, 'lost', '', '' FROM dead_letter"
            " WHERE epoch NOT IN (SELECT number FROM epoch)"
        )
        row = target.execute(
            "SELECT device, machine FROM epoch WHERE device <> '' ORDER BY number DESC LIMIT 1"
        ).fetchone()
        device, machine = row or (secrets.token_hex(16), "")
        if row is None:
            self.notes.append("the device's id is lost: a new one was made")
        name = secrets.token_hex(8)
        target.execute(
            "INSERT INTO epoch (name, started_at, reason, device, machine) VALUES (?, ?, 'salvaged', ?, ?)",
            (name, self.now, device, machine),
        )
        return name

    def restore(self) -> None:
        """Make streams, upstreams and lanes that could not be read from the copies of their names."""
        target = self.target
        self._choose()
        # What was read has made copies of its own in passing; the same as those that were read.
        target.execute(
            "INSERT OR IGNORE INTO stream (id, dialect, product)"
            " SELECT id, first, second FROM name_copy WHERE kind = 'stream' ORDER BY id"
        )
        target.execute(
            "INSERT OR IGNORE INTO upstream (id, name, kind, added_at)"
            " SELECT id, first, second, ? FROM name_copy WHERE kind = 'upstream' ORDER BY id",
            (self.now,),
        )
        lost = target.execute(
            "INSERT OR IGNORE INTO lane"
            " (id, upstream, stream, cursor_seq, cursor_position, passed_bytes, since)"
            " SELECT id, first, second, 0, 0, 0, ? FROM name_copy WHERE kind = 'lane' ORDER BY id"
            " RETURNING id",
            (self.now,),
        ).fetchall()
        if lost:
            self.notes.append(f"{len(lost)} lanes start again at the oldest event")
        self.adopt()
        if "name_copy" in self.broken and ("lane" in self.broken or "upstream" in self.broken):
            self._take_configured()
        # Without a marker a `file` upstream keeps all that it has written, and goes on behind it.
        target.execute(
            "UPDATE lane SET failures = 0, next_attempt_at = 0, learned_limit = NULL, settled = NULL,"
            " state = iif(state IN ('new', 'healthy', 'retrying', 'blocked'), state, 'new')"
        )

    def _choose(self) -> None:
        """Where a name and its copy differ, take the one that the configuration knows."""
        for (kind, number), copy in self.copies.items():
            first, second = examine.NAMED[kind]
            row = self.target.execute(
                f"SELECT {first}, {second} FROM {kind} WHERE id = ?",  # noqa: S608 (names of the schema)
                (number,),
            ).fetchone()
            if row is None or tuple(map(str, row)) == copy:
                continue
            if self._knows(kind, copy) and not self._knows(kind, tuple(map(str, row))):
                self.target.execute(
                    f"UPDATE OR IGNORE {kind} SET {first} = ?, {second} = ? WHERE id = ?",  # noqa: S608
                    (*copy, number),
                )
                row = copy
            self.target.execute(
                "UPDATE name_copy SET first = ?, second = ? WHERE kind = ? AND id = ?",
                (*map(str, row), kind, number),
            )
            self.notes.append(f"{kind} {number} had two names, and is {' '.join(map(str, row))} now")

    def _knows(self, kind: str, name: tuple[str, ...]) -> bool:
        match kind:
            case "upstream":
                return name in {(wanted.name, wanted.kind) for wanted in self.upstreams}
            case "stream":
                return any(wanted.takes(*name) for wanted in self.upstreams)
            case _:
                return all(
                    self.target.execute(f"SELECT 1 FROM {table} WHERE id = ?", (value,)).fetchone()  # noqa: S608
                    for table, value in zip(("upstream", "stream"), name, strict=True)
                )

    def adopt(self) -> None:
        """Give replayed chunks whose lane is lost to all lanes."""
        adopted = rebuild.adopt_replayed(self.target)
        if adopted:
            self.notes.append(f"{adopted} replayed chunks go to all lanes")

    def _take_configured(self) -> None:
        """Give each upstream of the configuration a lane in what it takes, where it is not known what was."""
        for wanted in self.upstreams:
            self.target.execute(
                "INSERT OR IGNORE INTO upstream (name, kind, added_at) VALUES (?, ?, ?)",
                (wanted.name, wanted.kind, self.now),
            )
            streams = self.target.execute("SELECT id, dialect, product FROM stream").fetchall()
            for stream, dialect, product in streams:
                if wanted.takes(dialect, product):
                    self.target.execute(
                        "INSERT OR IGNORE INTO lane"
                        " (upstream, stream, cursor_seq, cursor_position, passed_bytes, since)"
                        " SELECT id, ?, 0, 0, 0, ? FROM upstream WHERE name = ?",
                        (stream, self.now, wanted.name),
                    )
        self.notes.append("lanes were made as the configuration has them")

    def drop_strays(self) -> None:
        """Delete rows that refer to what is lost."""
        for name in ("chunk", "lane", *(table.name for table in examine.tables(self.target))):
            keys = self.target.execute(f"PRAGMA foreign_key_list('{name}')").fetchall()
            for _, _, parent, column, referred, *_ in keys:
                cursor = self.target.execute(
                    f"DELETE FROM {name} WHERE {column} NOT IN (SELECT {referred} FROM {parent})"  # noqa: S608
                )
                if cursor.rowcount > 0:
                    self.notes.append(f"{cursor.rowcount} rows of {name} belong to no known {parent}")
