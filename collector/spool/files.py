"""Opening a spool's files, also where they are damaged or the disk is full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.errors import SpoolNoSpace
from collector.spool import identity, upstreams
from collector.spool.ballast import Ballast
from collector.spool.confirm import open_database
from collector.spool.database import open_reader
from collector.spool.directory import BALLAST_FILE, DATABASE_FILE
from collector.spool.space import SPEND_BYTES, Space

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from collector.spool.database import Database
    from collector.spool.journal import Salvaged
    from collector.spool.options import SpoolOptions
    from collector.spool.stages import Told
    from collector.spool.store import Times


@dataclass(frozen=True, slots=True)
class Files:
    """What is open.

    Attributes:
        clocks: told what was kept of them.
        salvaged: what was saved, where the database was damaged.
        unconfirmed: why it was thought to be damaged, where it is not.
    """

    database: Database
    reader: sqlite3.Connection
    space: Space
    epoch: identity.Epoch
    clocks: Times
    salvaged: Salvaged | None
    unconfirmed: str


def open_files(
    options: SpoolOptions,
    times: Callable[[identity.Epoch | None], Times],
    *,
    machine: identity.Machine,
    device: str | None,
    told: Told,
) -> Files:
    """Open database and ballast; the arguments and errors are those of `open_spool`."""
    ballast = Ballast(options.directory / BALLAST_FILE)
    short = False
    while True:
        try:
            return _open(options, times, machine, device, ballast, told, short=short)
        except SpoolNoSpace:
            # Opening takes some room too, and more where a log was left behind.
            if not ballast.size:
                raise
            ballast.cut(max(0, ballast.size - SPEND_BYTES))
            short = True


def _open(
    options: SpoolOptions,
    times: Callable[[identity.Epoch | None], Times],
    machine: identity.Machine,
    device: str | None,
    ballast: Ballast,
    told: Told,
    *,
    short: bool,
) -> Files:
    wall = times(None)

    def establish(connection: sqlite3.Connection) -> identity.Epoch:
        epoch = identity.establish(connection, machine=machine, device=device, now=wall.wall_ms())
        upstreams.reconcile(connection, options.upstreams, now=wall.wall_ms())
        return epoch

    path = options.directory / DATABASE_FILE
    opened = open_database(
        path, durability=options.durability, upstreams=options.upstreams, now=wall.wall_ms(), told=told
    )
    database = opened.database
    try:
        epoch = database.commit(establish)
        reader = open_reader(path)
        try:
            space = Space(database, ballast, size=options.ballast_bytes)
            space.begin(short=short)
        except BaseException:
            reader.close()
            raise
    except BaseException:
        database.close()
        raise
    return Files(
        database, reader, space, epoch, times(epoch), salvaged=opened.salvaged, unconfirmed=opened.unconfirmed
    )
