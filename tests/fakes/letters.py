"""Dead letters as tests need them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fakes.spools import batch_of, lane_of, next_run

from collector.spool import letters, settle
from collector.spool.passage import Passage

if TYPE_CHECKING:
    from collector.spool.letters import Letter
    from collector.spool.spool import Spool


async def bury(spool: Spool, count: int = 1, *, name: str = "main/samsara") -> None:
    """Dead-letter the next events of a lane."""
    for _ in range(count):
        lane = await lane_of(spool, name)
        run = await spool.read(partial(next_run, lane=lane, max_events=1))
        stored = run.pieces[0].chunk
        letter = settle.DeadLetter(
            position=run.first,
            day=stored.day,
            received_at=stored.received_at,
            published_at=stored.published_at,
            remote_address=stored.remote_address,
            reason="sourceId: expected string",
            status=400,
            answer='["sourceId: expected string"]',
            event=run.pieces[0].events[0],
        )
        burying = partial(settle.buried, lane=lane.id, letter=letter, passage=Passage.of(run), batch=None)
        assert await spool.write(partial(burying, epoch=spool.epoch.name, now=7))


async def deliver(spool: Spool, *, name: str = "main/samsara") -> list[bytes]:
    """Deliver all that a lane has to send; the events."""
    sent: list[bytes] = []
    while True:
        lane = await lane_of(spool, name)
        run = await spool.read(partial(next_run, lane=lane))
        if run is None:
            return sent
        assert run.first == lane.cursor_position
        batch = await spool.read(partial(batch_of, lane=lane, run=run))
        assert await spool.write(partial(settle.seal, batch=batch, now=0))
        settling = partial(settle.delivered, run=run, settled=None, learned_limit=None, now=0)
        assert await spool.write(partial(settling, batch=batch))
        sent += [event for piece in run.pieces for event in piece.events]


async def kept(spool: Spool) -> list[Letter]:
    """All letters, with their events."""
    everything = letters.Choice(all=True)
    page = await spool.read(lambda connection: letters.page(connection, everything, limit=1000, events=True))
    assert page.next is None
    return page.letters
