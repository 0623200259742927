"""The age clock: where it stood, and which stops of the machine it slept through.

It goes on by the machine's ticks, which nobody can set. While the machine is off there are
none. How long that was is known only where the wall clock was confirmed on both sides, and
often not before some minutes into the new start. So the clock is never put forward: a stop
that became known says that whatever was accepted before it is older by so much than the age
clock makes it, and what was accepted after it is not.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from collector.core.timekeeping import Kept, Moment, Trust

if TYPE_CHECKING:
    import sqlite3


def load(connection: sqlite3.Connection) -> Kept:
    """What was kept, no earlier than the newest event there is."""
    row = connection.execute("SELECT age, boot, ticks, newest_wall FROM age_clock").fetchone()
    kept = Kept() if row is None else Kept(*row)
    newest = connection.execute("SELECT accepted_age FROM chunk ORDER BY seq DESC LIMIT 1").fetchone()
    later = 0 if newest is None else newest[0] - kept.age
    # Accepted after the clock was kept last: the ticks had gone on by as much.
    return dataclasses.replace(kept, age=newest[0], ticks=kept.ticks + later) if later > 0 else kept


def keep(connection: sqlite3.Connection, moment: Moment, *, boot: str) -> None:
    """Persist where the age clock stands, and any stop that this moment tells the length of.

    Args:
        connection: the writing one, in a transaction.
        moment: now.
        boot: a name of the machine's start.
    """
    connection.execute(
        "INSERT INTO age_clock (id, age, boot, ticks, newest_wall, total)"
        " VALUES (1, ?1, ?2, ?3, ?4, ?1 + ?3 + ?4)"
        " ON CONFLICT (id) DO UPDATE SET age = excluded.age, boot = excluded.boot, ticks = excluded.ticks,"
        " newest_wall = excluded.newest_wall,"
        " total = excluded.total + coalesce(confirmed_age, 0) + coalesce(confirmed_wall, 0)",
        (moment.age, boot, moment.ticks, moment.newest),
    )
    if moment.trust is not Trust.CONFIRMED:
        return
    age, wall, earlier = connection.execute(
        "SELECT confirmed_age, confirmed_wall, confirmed_boot FROM age_clock"
    ).fetchone()
    if earlier is not None and earlier != boot:
        missed = (moment.wall - wall) - (moment.age - age)
        if missed > 0:
            _slept(connection, age=age, missed=missed)
    connection.execute(
        "UPDATE age_clock SET confirmed_age = ?1, confirmed_wall = ?2, confirmed_boot = ?3,"
        " total = age + ticks + newest_wall + ?1 + ?2",
        (moment.age, moment.wall, boot),
    )


def _slept(connection: sqlite3.Connection, *, age: int, missed: int) -> None:
    # Stops before all that is there concern nothing any more.
    connection.execute(
        "DELETE FROM stop WHERE age < coalesce((SELECT accepted_age FROM chunk ORDER BY seq LIMIT 1), ?)",
        (age,),
    )
    connection.execute(
        "INSERT INTO stop (age, missed, total) VALUES (?1, ?2, ?1 + ?2)"
        " ON CONFLICT (age) DO UPDATE SET missed = missed + excluded.missed, total = total + excluded.missed",
        (age, missed),
    )


def accepted_before(connection: sqlite3.Connection, *, age: int, max_age: int) -> int:
    """The instant of the age clock before which events were accepted that are over `max_age` old now.

    Args:
        connection: any.
        age: where the age clock stands.
        max_age: ms.
    """
    instant = age - max_age
    for stop, missed in connection.execute("SELECT age, missed FROM stop ORDER BY age DESC").fetchall():
        if instant >= stop:
            break
        # All from before the stop are older by what was missed. The age clock stood at the
        # same instant after it, so what bears just that may be of either side, and is kept.
        instant = min(instant + missed, stop)
    return instant
