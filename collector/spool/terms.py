"""Terms: which upstreams a spool works for, and within which bounds; changed while it is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.errors import SpoolUnavailable
from collector.spool import upstreams
from collector.spool.items import Work
from collector.spool.tickets import Ticket

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from collector.spool.committer import Committer
    from collector.spool.entrance import Entrance
    from collector.spool.options import SpoolOptions


async def take_up(
    options: SpoolOptions,
    before: SpoolOptions,
    *,
    entrance: Entrance,
    committer: Committer,
    put: Callable[[Work], None],
    wall_ms: Callable[[], int],
) -> None:
    """Go over from one set of options to another, in one transaction.

    What was queued before it belongs to the old upstreams, what comes after it to the new ones.
    Between the two only what both take is let in, since it cannot be said yet whose it will be.

    Raises:
        SpoolUnavailable: the disk refused, and nothing has changed.
    """
    ticket = Ticket()

    def run(connection: sqlite3.Connection) -> None:
        item.undo = committer.take_up(options)
        upstreams.reconcile(connection, options.upstreams, now=wall_ms())

    item = Work(run, ticket)
    entrance.change(before, lambda *stream: before.takers(*stream) if options.takers(*stream) else ())
    try:
        put(item)
        await ticket.committed()
    except SpoolUnavailable:
        entrance.change(before, before.takers)
        raise
    entrance.change(options, options.takers)
