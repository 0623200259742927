"""The machine's starts, and what its wall clock was set to in each.

A row is one stretch of one start in which the wall clock only ran; when it is set, or is
believed more or less than before, the next one begins. A chunk names the stretch that it was
stamped in. Where a later stretch of the same start is believed more, the clock did not know
better before, and its whole error is the difference of their bases: that is what stamps of the
earlier stretch are corrected by; of two that are believed alike, the first. Stamps made since
are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.core.timekeeping import JUMP_MS, Moment, Trust

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch in which the wall clock only ran.

    Attributes:
        base: wall time less ticks, ms.
    """

    id: int
    base: int
    trust: Trust

    def goes_on(self, moment: Moment) -> bool:
        """Whether a moment of the same start is still of this stretch."""
        # A restarted daemon has yet to hear that the clock which it had confirmed still is right.
        as_trusted = moment.trust == self.trust or (
            self.trust is Trust.CONFIRMED and moment.trust is Trust.PLAUSIBLE
        )
        return as_trusted and abs(moment.base - self.base) <= JUMP_MS


class Follower:
    """Follows the wall clock through one start of the machine; belongs to whoever commits.

    Args:
        boot: a name of the start.
    """

    def __init__(self, boot: str) -> None:
        self._boot = boot
        self._now: Stretch | None = None
        self._before: Stretch | None = None

    def forget(self) -> None:
        """Drop what was remembered of the tables."""
        self._now = self._before = None

    def note(self, connection: sqlite3.Connection, moment: Moment) -> Moment:
        """Begin another stretch where the moment is not of the last one; returns the moment."""
        last = self._now
        if last is None or not last.goes_on(moment):
            self._now = enter(connection, self._boot, moment)
            jumped = last is not None and abs(last.base - self._now.base) > JUMP_MS
            self._before = last if jumped else None
        return moment

    def steady(self, moment: Moment) -> Stretch | None:
        """The stretch of all that is stamped up to this moment; None where it takes a closer look."""
        now = self._now
        return now if now is not None and self._before is None and now.goes_on(moment) else None

    def stamped_in(self, received_at: int, moment: Moment) -> Stretch:
        """The stretch that a request was stamped in: the clock may have been set while it was queued.

        Args:
            received_at: the stamp, ms since 1970.
            moment: as it was noted.
        """
        if self._now is None:
            raise RuntimeError("no moment was noted")
        base = received_at - moment.ticks
        if self._before is not None and abs(base - self._before.base) < abs(base - self._now.base):
            return self._before
        return self._now


def last(connection: sqlite3.Connection, boot: str) -> Stretch | None:
    """The last stretch of a start of the machine, where there is one."""
    row = connection.execute(
        "SELECT id, base, trust FROM boot WHERE name = ? ORDER BY id DESC LIMIT 1", (boot,)
    ).fetchone()
    return None if row is None else Stretch(row[0], row[1], Trust(row[2]))


def enter(connection: sqlite3.Connection, boot: str, moment: Moment) -> Stretch:
    """The stretch that a moment is of; where it begins, what it teaches of earlier ones is kept.

    Args:
        connection: the writing one, in a transaction.
        boot: a name of the machine's start.
        moment: now.
    """
    stretch = last(connection, boot)
    if stretch is not None and stretch.goes_on(moment):
        return stretch
    _forget(connection)
    (number,) = connection.execute(
        "INSERT INTO boot (name, began_at, base, trust) VALUES (?, ?, ?, ?) RETURNING id",
        (boot, moment.wall, moment.base, moment.trust),
    ).fetchone()
    connection.execute(
        "UPDATE boot SET clock_offset = iif(abs(?1 - base) > ?2, ?1 - base, 0), corrected_by = ?4"
        " WHERE name = ?3 AND trust < ?4 AND corrected_by < ?4",
        (moment.base, JUMP_MS, boot, moment.trust),
    )
    return Stretch(number, moment.base, moment.trust)


def _forget(connection: sqlite3.Connection) -> None:
    """Forget stretches whose chunks are all gone, and whose dead letters and their replays."""
    connection.execute(
        "DELETE FROM boot WHERE id < (SELECT coalesce(min(boot), (SELECT max(id) FROM boot)) FROM ("
        " SELECT * FROM (SELECT boot FROM chunk WHERE only_lane IS NULL ORDER BY seq LIMIT 1)"
        " UNION ALL SELECT min(boot) FROM chunk WHERE only_lane IS NOT NULL"
        " UNION ALL SELECT min(boot) FROM dead_letter))"
    )


def corrections(connection: sqlite3.Connection, stretches: Collection[int]) -> tuple[tuple[int, int], ...]:
    """What is to be added to stamps of each of these stretches, in ms, where that is known and not 0."""
    found = []
    for stretch in sorted(stretches):
        row = connection.execute("SELECT clock_offset FROM boot WHERE id = ?", (stretch,)).fetchone()
        if row is not None and row[0]:
            found.append((stretch, int(row[0])))
    return tuple(found)
