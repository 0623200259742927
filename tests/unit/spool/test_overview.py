from __future__ import annotations

from functools import partial

from fakes.clocks import A_DAY, START, StandingClocks
from fakes.spools import PRODUCT, accept, batch_of, change, chunk, lane_of, next_run, query, spool_in, wanted

from collector.spool import settle
from collector.spool.overview import overview, products


async def test_the_overview_says_what_waits_and_what_became_of_events(tmp_path):
    clocks = StandingClocks()
    async with spool_in(tmp_path, clocks=clocks) as spool:
        await accept(spool, chunk(2, received_at=START), chunk(3, received_at=START + A_DAY))
        lane = await lane_of(spool)
        run = await spool.read(lambda connection: next_run(connection, lane, max_events=2))
        batch = await spool.read(lambda connection: batch_of(connection, lane, run))
        await spool.write(partial(settle.seal, batch=batch, now=0))
        await spool.write(
            partial(settle.delivered, batch=batch, run=run, settled=None, learned_limit=None, now=55)
        )
        clocks.good = False
        await accept(spool, chunk(1, received_at=5))
        view = await spool.read(overview)
        (lane_view,) = view.lanes
        sizes = await query(spool, "SELECT sum(length(body)) FROM chunk")
        assert (lane_view.name, lane_view.upstream, lane_view.dialect, lane_view.product) == (
            "main/samsara",
            "main",
            "samsara",
            "",
        )
        assert (lane_view.state, lane_view.since, lane_view.next_attempt_at) == ("healthy", 55, None)
        assert (lane_view.pending_events, lane_view.pending_bytes) == (4, sizes[0][0])
        assert (lane_view.oldest_received_at, lane_view.dead_letters) == (START + A_DAY, 0)
        rows = [(row.day, row.accepted, row.pending, row.delivered) for row in view.ledger]
        assert rows == [("unknown", 1, 1, 0), ("2027-01-15", 2, 0, 2), ("2027-01-16", 3, 3, 0)]
        assert [(row.day, row.requests, row.events) for row in view.received] == [
            ("unknown", 1, 1),
            ("2027-01-15", 1, 2),
            ("2027-01-16", 1, 3),
        ]


async def test_an_empty_lane_has_nothing_that_is_old(tmp_path):
    async with spool_in(tmp_path, wanted("a"), wanted("b")) as spool:
        await accept(spool, chunk(1))
        await change(
            spool,
            "UPDATE lane SET cursor_seq = 2, passed_bytes = (SELECT stored_bytes FROM stream_end)"
            " WHERE id = 1",
        )
        await change(spool, "UPDATE counts SET pending = 0, delivered = 1 WHERE lane = 1")
        empty, full = (await spool.read(overview)).lanes
        assert (empty.pending_events, empty.pending_bytes, empty.oldest_received_at) == (0, 0, None)
        assert (full.pending_events, full.oldest_received_at) == (1, START)


async def test_the_products_that_were_ever_seen_are_known(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1), chunk(1, dialect="traintracks", product=PRODUCT))
        assert await spool.read(products) == [PRODUCT]
