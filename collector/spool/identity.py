"""Who this spool is: its device and its epoch."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.spool import age

if TYPE_CHECKING:
    import sqlite3

    from collector.core.timekeeping import Kept


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
        boot: a name of this start of the machine; made up where it has none.
        kept: what was kept of the clocks.
    """

    name: str
    device: str
    boot: str
    kept: Kept

    @property
    def age(self) -> int:
        """Where the age clock stood, ms."""
        return self.kept.age


def establish(connection: sqlite3.Connection, *, machine: Machine, device: str | None, now: int) -> Epoch:
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
    return Epoch(name, made, machine.boot or secrets.token_hex(16), age.load(connection))
