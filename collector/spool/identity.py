"""Who this spool is: its device, its epoch, the machine's starts, and its age clock."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True, slots=True)
class Machine:
    """What tells one machine, and one start of it, from another.

    Attributes:
        id: a stable name of the machine, empty where it has none.
        boot: a name of this start, empty where it has none.
    """

    id: str
    boot: str


@dataclass(frozen=True, slots=True)
class Epoch:
    """One life of the spool.

    Attributes:
        name: 16 hex digits.
        device: the device's id, 32 hex digits unless it is configured.
        boot: the row of this start of the machine.
        age: where the age clock stood, ms.
    """

    name: str
    device: str
    boot: int
    age: int


def establish(
    connection: sqlite3.Connection, *, machine: Machine, device: str | None, now: int, clock_good: bool
) -> Epoch:
    """Read the spool's identity, or make it, inside the caller's transaction.

    A spool whose machine is another than it was is a cloned image's: two devices would then
    number different events alike, so it gets a new epoch and device id, and what was sealed is
    sealed anew under them.
    """
    row = connection.execute(
        "SELECT name, device, machine FROM epoch ORDER BY number DESC LIMIT 1"
    ).fetchone()
    cloned = row is not None and machine.id != "" and row[2] not in ("", machine.id)
    if row is None or cloned:
        name, made = secrets.token_hex(8), device or secrets.token_hex(16)
        connection.execute(
            "INSERT INTO epoch (name, started_at, reason, device, machine) VALUES (?, ?, ?, ?, ?)",
            (name, now, "cloned" if cloned else "created", made, machine.id),
        )
        if cloned:
            connection.execute("DELETE FROM batch")
    else:
        name, made = row[0], device or row[1]
        # A machine that was nameless, and is not now, would not be told from a clone later.
        connection.execute(
            "UPDATE epoch SET device = ?1, machine = iif(machine = '', ?2, machine) WHERE name = ?3",
            (made, machine.id, name),
        )
    return Epoch(
        name, made, _boot(connection, machine, now=now, clock_good=clock_good), _age(connection, now=now)
    )


def _boot(connection: sqlite3.Connection, machine: Machine, *, now: int, clock_good: bool) -> int:
    name = machine.boot or secrets.token_hex(16)
    connection.execute(
        "INSERT OR IGNORE INTO boot (name, first_seen_at, clock_good) VALUES (?, ?, ?)",
        (name, now, clock_good),
    )
    (boot,) = connection.execute("SELECT id FROM boot WHERE name = ?", (name,)).fetchone()
    # Boots whose chunks are all gone are of no more use, but to dead letters and their replays.
    connection.execute(
        "DELETE FROM boot WHERE id <> ?1 AND id < (SELECT coalesce(min(boot), ?1) FROM ("
        " SELECT * FROM (SELECT boot FROM chunk WHERE only_lane IS NULL ORDER BY seq LIMIT 1)"
        " UNION ALL SELECT min(boot) FROM chunk WHERE only_lane IS NOT NULL"
        " UNION ALL SELECT min(boot) FROM dead_letter))",
        (boot,),
    )
    return int(boot)


def _age(connection: sqlite3.Connection, *, now: int) -> int:
    row = connection.execute("SELECT age FROM age_clock").fetchone()
    newest = connection.execute("SELECT accepted_age FROM chunk ORDER BY seq DESC LIMIT 1").fetchone()
    age = max(0 if row is None else row[0], 0 if newest is None else newest[0])
    save_age(connection, age=age, wall=now)
    return age


def save_age(connection: sqlite3.Connection, *, age: int, wall: int) -> None:
    """Persist where the age clock stands, so that it goes on from there after a restart."""
    connection.execute(
        "INSERT INTO age_clock (id, age, wall, wall_confirmed) VALUES (1, ?1, ?2, 0)"
        " ON CONFLICT (id) DO UPDATE SET age = excluded.age, wall = excluded.wall",
        (age, wall),
    )
