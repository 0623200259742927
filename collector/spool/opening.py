"""Opening the spool of a directory: owned, salvaged where it must be, and closed at the end."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio

from collector.errors import SpoolDamaged, SpoolUnavailable
from collector.spool import identity, upstreams
from collector.spool.aside import lift_doubt, mark_damaged
from collector.spool.committer import Committer
from collector.spool.confirm import open_database
from collector.spool.database import Database, open_reader
from collector.spool.directory import DATABASE_FILE, LOCK_FILE, make_directory
from collector.spool.lock import owned
from collector.spool.spool import Spool
from collector.spool.store import Store

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncGenerator, Callable

    from collector.spool.options import SpoolOptions
    from collector.spool.store import Times

LOOKS = 2
"""How often a start looks for damage that it has met: the second time it is believed."""

CLOSE_SECONDS = 30.0
"""How long closing waits for a disk that hangs. systemd kills after 90."""


@asynccontextmanager
async def open_spool(
    options: SpoolOptions,
    times: Callable[[identity.Epoch | None], Times],
    *,
    machine: identity.Machine,
    device: str | None = None,
) -> AsyncGenerator[Spool]:
    """Own and open the spool of a directory; it is closed, after all that was queued, at the end.

    Args:
        options: how.
        times: the clocks; called again, once it is known what was kept of them.
        machine: the machine that this runs on.
        device: the configured device id, or None to make one once.

    Raises:
        SpoolLocked: another live process owns it.
        SpoolTooNew: it was written by a later release.
        SpoolUnavailable: its database cannot be opened. One that is damaged is set aside,
            and what can be saved of it is.
    """
    path = options.directory / DATABASE_FILE
    make_directory(options.directory)
    with owned(options.directory / LOCK_FILE):
        for _ in range(LOOKS):
            # Met behind what is looked at before: this very start looks at all, and salvages.
            try:
                database, spool, committer = _open(options, times, machine, device)
                break
            except SpoolDamaged as damage:
                with suppress(OSError):
                    mark_damaged(path, damage.cause)
        else:
            database, spool, committer = _open(options, times, machine, device)
        try:
            reader = open_reader(path)
        except BaseException:
            database.close()
            raise
        spool.start(database, committer, reader)
        try:
            # The first commit says what the spool takes, and who is admitted.
            await spool.write(spool.keep_clocks)
            yield spool
        finally:
            with trio.move_on_after(CLOSE_SECONDS, shield=True) as closing:
                with suppress(SpoolUnavailable):
                    await spool.write(spool.keep_clocks)
                await spool.close()
                if spool.damage is None:
                    with suppress(OSError):
                        lift_doubt(path)
            if closing.cancelled_caught:
                raise SpoolUnavailable(f"the disk did not take what was queued within {CLOSE_SECONDS:g} s")


def _open(
    options: SpoolOptions,
    times: Callable[[identity.Epoch | None], Times],
    machine: identity.Machine,
    device: str | None,
) -> tuple[Database, Spool, Committer]:
    opened = open_database(
        options.directory / DATABASE_FILE,
        durability=options.durability,
        upstreams=options.upstreams,
        now=times(None).wall_ms(),
    )
    try:
        spool, committer = _prepare(opened.database, options, times, machine, device)
    except BaseException:
        opened.database.close()
        raise
    spool.salvaged, spool.unconfirmed = opened.salvaged, opened.unconfirmed
    return opened.database, spool, committer


def _prepare(
    database: Database,
    options: SpoolOptions,
    times: Callable[[identity.Epoch | None], Times],
    machine: identity.Machine,
    device: str | None,
) -> tuple[Spool, Committer]:
    wall = times(None)

    def establish(connection: sqlite3.Connection) -> identity.Epoch:
        epoch = identity.establish(connection, machine=machine, device=device, now=wall.wall_ms())
        upstreams.reconcile(connection, options.upstreams, now=wall.wall_ms())
        return epoch

    epoch = database.commit(establish)
    clocks = times(epoch)
    spool = Spool(options, clocks, epoch)
    store = Store(boot=epoch.boot, takers=spool.takers, times=clocks)
    make_room = options.when_full == "drop-oldest"
    return spool, Committer(spool, database, store, options.limits, make_room=make_room)
