"""Dead letters: looked at page by page, ended by command, and kept within bounds.

What goes here is a letter's body alone. Its event stays counted as dead: whether anybody may
still read it does not change what became of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from collector.core.batch import lane_name
from collector.core.days import day_name

if TYPE_CHECKING:
    import sqlite3

    from collector.spool.options import LetterBounds

STEP_LETTERS = 1000
"""Letters that one transaction ends at most, so that ingest is never held up for long."""

PAGE_BYTES = 4 * 1024 * 1024
"""Bytes of events in one page, beyond its first letter."""

MAX_PAGE = 1000
"""Letters in one page: they are read within one short transaction."""

MAX_IDS = 10_000
"""Letters that one command may name."""


class UnknownLane(LookupError):
    """There is no lane of that name."""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter.

    Attributes:
        id: ascending in the order in which they died.
        lane: its name.
        epoch: with `position`, what the upstream was told of it.
        day: UTC day of acceptance, which the ledger counts it under.
        received_at: when it was accepted, ms since 1970; `died_at` when it was refused.
        published_at: what the app said, ms since 1970.
        remote_address: of the app's client, as it said.
        reason: why it died.
        status: the upstream's answer's, 0 where there was none.
        answer: an excerpt of that answer.
        damaged: whether it is a chunk that was no longer what was written; such a one cannot be replayed.
        size: bytes that it takes.
        event: its JSON text, where that was asked for.
        stored: in its place, what is left of a damaged chunk, as stored; base64 in JSON.
    """

    id: int
    lane: str
    epoch: str
    position: int
    day: str
    received_at: int
    published_at: int | None
    remote_address: str
    died_at: int
    reason: str
    status: int
    answer: str
    damaged: bool
    size: int
    event: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    stored: bytes | msgspec.UnsetType = msgspec.UNSET


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some letters, the oldest first; `next` is what to ask for those after them by, None for no more."""

    letters: list[Letter]
    next: int | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which letters a command is for: these, those of one lane, or all.

    Raises:
        ValueError: not just one of them is given.
    """

    ids: Annotated[tuple[int, ...], msgspec.Meta(max_length=MAX_IDS)] | None = None
    lane: str | None = None
    all: bool = False

    def __post_init__(self) -> None:
        """Check."""
        if (self.ids is not None) + (self.lane is not None) + self.all != 1:
            raise ValueError('give one of "ids", "lane" and "all"')


_LANE_NAMES = (
    "SELECT lane.id, upstream.name, dialect, product FROM lane"
    " JOIN upstream ON upstream.id = lane.upstream JOIN stream ON stream.id = lane.stream"
)
_COLUMNS = (
    "dead_letter.id, upstream.name, dialect, product, epoch.name, position, day, received_at, published_at,"
    " remote_address, died_at, dead_letter.reason, status, answer, damaged, bytes"
)


def lane_id(connection: sqlite3.Connection, name: str) -> int:
    """The id of a lane.

    Raises:
        UnknownLane: there is none of that name.
    """
    for lane, *parts in connection.execute(_LANE_NAMES).fetchall():
        if lane_name(*parts) == name:
            return int(lane)
    raise UnknownLane(f"there is no lane {name}; `waystation status` shows which there are")


def condition(connection: sqlite3.Connection, choice: Choice) -> tuple[str, tuple[int | str, ...]]:
    """A choice as SQL on `dead_letter`, with its one parameter.

    Raises:
        UnknownLane: it names a lane that is not there.
    """
    if choice.ids is not None:
        ids = msgspec.json.encode(choice.ids).decode()
        return "dead_letter.id IN (SELECT value FROM json_each(?))", (ids,)
    if choice.lane is not None:
        return "dead_letter.lane = ?", (lane_id(connection, choice.lane),)
    return "dead_letter.id > ?", (0,)


def page(
    connection: sqlite3.Connection, choice: Choice, *, after: int = 0, limit: int = 100, events: bool = False
) -> Page:
    """Letters by ascending id.

    Args:
        connection: any.
        choice: which.
        after: the id that they follow.
        limit: how many, at most `MAX_PAGE`.
        events: whether with their events; the page may then be shorter, to stay near `PAGE_BYTES`.

    Raises:
        UnknownLane: the choice names a lane that is not there.
    """
    chosen, parameters = condition(connection, choice)
    cursor = connection.execute(
        f"SELECT {_COLUMNS}{', event' if events else ''} FROM dead_letter"  # noqa: S608 (our own words)
        " JOIN lane ON lane.id = dead_letter.lane JOIN epoch ON epoch.number = dead_letter.epoch"
        " JOIN upstream ON upstream.id = lane.upstream JOIN stream ON stream.id = lane.stream"
        f" WHERE {chosen} AND dead_letter.id > ? ORDER BY dead_letter.id LIMIT ?",
        (*parameters, after, min(limit, MAX_PAGE) + 1),
    )
    found: list[Letter] = []
    size = 0
    try:
        for row in cursor:
            letter = _letter(row)
            size += letter.size
            if found and (len(found) == min(limit, MAX_PAGE) or (events and size > PAGE_BYTES)):
                return Page(letters=found, next=found[-1].id)
            found.append(letter)
    finally:
        cursor.close()
    return Page(letters=found)


def _letter(row: tuple) -> Letter:  # type: ignore[type-arg]
    damaged = bool(row[14])
    event: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    stored: bytes | msgspec.UnsetType = msgspec.UNSET
    if len(row) > 16:  # noqa: PLR2004 (the event was asked for)
        if damaged:
            stored = row[16]
        else:
            event = msgspec.Raw(row[16])
    return Letter(
        id=row[0],
        lane=lane_name(row[1], row[2], row[3]),
        epoch=row[4],
        position=row[5],
        day=day_name(row[6]),
        received_at=row[7],
        published_at=row[8],
        remote_address=row[9],
        died_at=row[10],
        reason=row[11],
        status=row[12],
        answer=row[13],
        damaged=damaged,
        size=row[15],
        event=event,
        stored=stored,
    )


def newest(connection: sqlite3.Connection) -> int:
    """The id of the newest letter, 0 where there is none."""
    (number,) = connection.execute("SELECT coalesce(max(id), 0) FROM dead_letter").fetchone()
    return int(number)


def purge(connection: sqlite3.Connection, choice: Choice, *, up_to: int) -> int:
    """End chosen letters up to an id, at most `STEP_LETTERS`; returns how many.

    Raises:
        UnknownLane: the choice names a lane that is not there.
    """
    chosen, parameters = condition(connection, choice)
    return connection.execute(
        "DELETE FROM dead_letter WHERE id IN (SELECT dead_letter.id FROM dead_letter"  # noqa: S608 (as above)
        f" WHERE {chosen} AND dead_letter.id <= ? LIMIT ?)",
        (*parameters, up_to, STEP_LETTERS),
    ).rowcount


def trim(connection: sqlite3.Connection, bounds: LetterBounds, *, age: int) -> dict[str, int]:
    """End the oldest letters that are beyond the bounds, at most `STEP_LETTERS`.

    Args:
        connection: the writing one.
        bounds: what may be kept.
        age: where the age clock stands, ms.

    Returns:
        How many went, by lane name.
    """
    count, held = connection.execute(
        # From an index alone: the letters themselves may be megabytes.
        "SELECT count(*), coalesce(sum(bytes), 0) FROM dead_letter INDEXED BY dead_letter_by_lane"
    ).fetchone()
    ended: dict[int, int] = {}
    last = 0
    oldest = connection.execute(
        "SELECT id, lane, died_age, bytes FROM dead_letter ORDER BY id LIMIT ?", (STEP_LETTERS,)
    )
    for letter, lane, died_age, size in oldest:
        aged = died_age < age - bounds.max_age
        if not aged and count <= bounds.max_count and held <= bounds.max_bytes:
            break
        count, held, last = count - 1, held - size, letter
        ended[lane] = ended.get(lane, 0) + 1
    oldest.close()
    if not ended:
        return {}
    connection.execute("DELETE FROM dead_letter WHERE id <= ?", (last,))
    names = connection.execute(_LANE_NAMES).fetchall()
    return {lane_name(*parts): ended[lane] for lane, *parts in names if lane in ended}
