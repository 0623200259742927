"""Extents: where a stream's chunks are.

An extent is a stretch of chunk numbers in which all chunks are one stream's. The last of all extents
is open: while its stream alone grows, nothing is written here. When a chunk of another stream comes, it
is ended and the next one begins. An index of chunks by stream would have to be written with each commit.

An extent whose chunks are all gone is deleted with the last of them; the open one when it is ended. So
there is at least a chunk in each but the open one, and whoever looks for a stream's chunks from
one on looks at few extents more than have some to give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from collector.errors import SpoolDamaged

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

END = 1 << 62
"""Behind the number of any chunk: where the open one ends. With NULL for that SQLite would sort: it takes
the key of a table of which a column may be NULL for one that may come twice."""


def chunks_of(stream: str, *, first: str = "0", end: str = f"{END}") -> str:
    """What to select from: the tables `extent` and `chunk`, joined to the chunks of a stream.

    What is selected has to say whose `stream` it means. A damaged extent may have another's chunks.

    Args:
        stream: an SQL expression, as are the others: a parameter, or a column with its table's name.
        first: the number of the first chunk.
        end: the number of the one behind the last.
    """
    return (
        # A cross join is not turned around: from an extent to its chunks, never the other way.
        f"extent CROSS JOIN chunk ON {_overlapping(stream, first, end)}"
        # SQLite goes by one lower and one upper bound of a row number, and no more.
        f" AND chunk.seq >= max(extent.first_seq, {first})"
        f" AND chunk.seq < min(extent.end_seq, {end})"
    )


def _overlapping(stream: str, first: str, end: str) -> str:
    """The condition for the extents of a stream that may have some of these chunks."""
    return (
        f"extent.stream = {stream} AND extent.first_seq >= coalesce((SELECT max(earlier.first_seq)"  # noqa: S608
        f" FROM extent AS earlier WHERE earlier.stream = {stream} AND earlier.first_seq <= {first}), 0)"
        f" AND extent.first_seq < {end}"
    )


IN_ORDER = "ORDER BY extent.first_seq, chunk.seq"
"""By number. By `chunk.seq` alone SQLite would first read and sort them all, with their bodies."""

LAST_FIRST = "ORDER BY extent.first_seq DESC, chunk.seq DESC"


class Open(NamedTuple):
    """The extent that still grows."""

    stream: int
    first_seq: int


NONE = Open(0, 0)
"""In place of one that grows: no stream has this number."""


def growing(connection: sqlite3.Connection, following: int) -> Open:
    """The extent that still grows, or `NONE`.

    Args:
        connection: the writing one, or one for a start.
        following: the number of the next chunk.

    Raises:
        SpoolDamaged: one begins where there is no chunk yet.
    """
    row = connection.execute(_GROWING).fetchone()
    if row is not None and row[1] >= following:
        raise SpoolDamaged(f"an extent begins at chunk {row[1]}, and the next chunk is {following}")
    return NONE if row is None or row[2] != END else Open(row[0], row[1])


_GROWING = (
    "SELECT extent.stream, first_seq, end_seq FROM stream CROSS JOIN extent ON extent.stream = stream.id"
    " AND first_seq = (SELECT max(first_seq) FROM extent WHERE extent.stream = stream.id)"
    " ORDER BY first_seq DESC LIMIT 1"
)


def begin(connection: sqlite3.Connection, before: Open, begun: Sequence[Open]) -> None:
    """Begin extents, the last of which is open.

    Args:
        connection: the writing one.
        before: the one that grew until now; what the same commit adds to it must be there.
        begun: at least one, in order; each ends where the next one begins.
    """
    end_seq = begun[0].first_seq
    # Nobody will come by once more for one whose chunks are gone already.
    deleted = connection.execute(
        "DELETE FROM extent WHERE stream = ?1 AND first_seq = ?2"
        " AND NOT EXISTS (SELECT 1 FROM chunk WHERE seq >= ?2 AND seq < ?3)",
        (*before, end_seq),
    )
    if deleted.rowcount == 0:
        connection.execute(
            "UPDATE extent SET end_seq = ?3 WHERE stream = ?1 AND first_seq = ?2", (*before, end_seq)
        )
    ends = [*(following.first_seq for following in begun[1:]), END]
    connection.executemany(
        "INSERT INTO extent (stream, first_seq, end_seq) VALUES (?, ?, ?)",
        [(*extent, end) for extent, end in zip(begun, ends, strict=True)],
    )


def take(connection: sqlite3.Connection, stream: int, seq: int) -> None:
    """Have the next chunk, which is about to be appended, in an extent of its stream."""
    before = growing(connection, seq)
    if before.stream != stream:
        begin(connection, before, [Open(stream, seq)])


def drop_empty(connection: sqlite3.Connection, stream: int, first_seq: int, end_seq: int) -> None:
    """Delete the extents that had chunks from `first_seq` up to `end_seq`, and have none any more."""
    connection.execute(_DROP_EMPTY, (stream, first_seq, end_seq))


_DROP_EMPTY = (
    f"DELETE FROM extent WHERE {_overlapping('?1', '?2', '?3')} AND end_seq < {END}"  # noqa: S608
    " AND NOT EXISTS (SELECT 1 FROM chunk WHERE seq >= extent.first_seq AND seq < extent.end_seq)"
)


def make_anew(connection: sqlite3.Connection) -> None:
    """Make all extents from the chunks; goes through every chunk."""
    connection.execute("DELETE FROM extent")
    connection.execute(
        "INSERT INTO extent (stream, first_seq, end_seq)"  # noqa: S608 (made of constants)
        f" SELECT stream, seq, lead(seq, 1, {END}) OVER (ORDER BY seq) FROM"
        " (SELECT seq, stream, lag(stream) OVER (ORDER BY seq) AS before FROM chunk)"
        " WHERE before IS NOT stream"
    )
