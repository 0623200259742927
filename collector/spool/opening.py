"""Opening the spool of a directory: owned, salvaged where it must be, and closed at the end."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio

from collector.errors import SpoolDamaged, SpoolUnavailable
from collector.spool.aside import lift_doubt, mark_damaged
from collector.spool.committer import Committer
from collector.spool.directory import DATABASE_FILE, LOCK_FILE, make_directory
from collector.spool.files import open_files
from collector.spool.lock import owned
from collector.spool.spool import Spool
from collector.spool.stages import untold
from collector.spool.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from collector.spool import identity
    from collector.spool.files import Files
    from collector.spool.options import SpoolOptions
    from collector.spool.stages import Told
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
    told: Told = untold,
) -> AsyncGenerator[Spool]:
    """Own and open the spool of a directory; it is closed, after all that was queued, at the end.

    Args:
        options: how.
        times: the clocks; called again, once it is known what was kept of them.
        machine: the machine that this runs on.
        device: the configured device id, or None to make one once.
        told: how far it is, where it is damaged.

    Raises:
        SpoolLocked: another live process owns it.
        SpoolTooNew: it was written by a later release.
        SpoolUnavailable: its database cannot be opened. One that is damaged is set aside,
            and what can be saved of it is. SpoolNoSpace where the disk is full and there is no
            ballast to give up.
    """
    path = options.directory / DATABASE_FILE
    make_directory(options.directory)
    with owned(options.directory / LOCK_FILE):
        for _ in range(LOOKS):
            # Met behind what is looked at before: this very start looks at all, and salvages.
            try:
                files = open_files(options, times, machine=machine, device=device, told=told)
                break
            except SpoolDamaged as damage:
                with suppress(OSError):
                    mark_damaged(path, damage.cause)
        else:
            files = open_files(options, times, machine=machine, device=device, told=told)
        spool = _spool(options, files)
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


def _spool(options: SpoolOptions, files: Files) -> Spool:
    """The spool of open files, at work."""
    spool = Spool(options, files.clocks, files.epoch)
    spool.salvaged, spool.unconfirmed = files.salvaged, files.unconfirmed
    store = Store(boot=files.epoch.boot, takers=options.takers, times=files.clocks)
    evicts = options.when_full == "drop-oldest"
    committer = Committer(spool, files.database, store, options.limits, files.space, make_room=evicts)
    spool.start(files.space, committer, files.reader)
    return spool
