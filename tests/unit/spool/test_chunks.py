from __future__ import annotations

import gzip
import os

import pytest
from fakes.clocks import A_DAY, START, StandingClocks
from fakes.spools import (
    PRODUCT,
    accept,
    batch_of,
    change,
    chunk,
    lane_of,
    ledger,
    next_run,
    query,
    spool_in,
    wanted,
)

from collector.core import limits
from collector.errors import NotTaken
from collector.spool import read, settle, store
from collector.spool.passage import Passage
from collector.spool.read import DamagedChunk
from collector.spool.store import unpack


async def stored(spool):
    return await spool.read(lambda connection: list(read.chunks(connection, 1, from_seq=0)))


async def deliver(spool, **limits):
    lane = await lane_of(spool)
    run = await spool.read(lambda connection: next_run(connection, lane, **limits))
    batch = await spool.read(lambda connection: batch_of(connection, lane, run))
    assert await spool.write(lambda connection: settle.seal(connection, batch, now=0))
    return await spool.write(
        lambda connection: settle.delivered(connection, batch, run, settled=None, learned_limit=None, now=0)
    )


@pytest.mark.parametrize(("pad", "encoding"), [(0, ""), (2000, "zlib")])
async def test_a_body_over_a_kibibyte_is_compressed_and_read_as_it_was(tmp_path, pad, encoding):
    async with spool_in(tmp_path) as spool:
        new = chunk(1, pad=pad)
        await accept(spool, new)
        ((kept, size),) = await query(spool, "SELECT encoding, length(body) FROM chunk")
        assert kept == encoding
        assert size <= len(new.body)
        (found,) = await stored(spool)
        assert (found.body, found.stored_bytes) == (new.body, size)


async def test_a_body_that_does_not_compress_is_kept_as_it_is(tmp_path):
    async with spool_in(tmp_path) as spool:
        noise = chunk(1, body=os.urandom(3000))
        await accept(spool, noise)
        assert len(noise.body) > store.COMPRESS_OVER_BYTES
        assert await query(spool, "SELECT encoding, length(body) FROM chunk") == [("", len(noise.body))]
        (found,) = await stored(spool)
        assert found.body == noise.body


async def test_a_gzip_body_is_kept_as_it_came(tmp_path):
    async with spool_in(tmp_path) as spool:
        new = chunk(2, pad=4000, gzip=True)
        await accept(spool, new)
        assert await query(spool, "SELECT encoding, body FROM chunk") == [("gzip", new.body)]
        (found,) = await stored(spool)
        assert found.body == gzip.decompress(new.body)


def test_every_member_of_a_gzip_body_is_read_up_to_the_bound():
    members = gzip.compress(b"[1,", mtime=0) + gzip.compress(b"2]")
    assert unpack("gzip", members) == b"[1,2]"
    largest = b" " * limits.MAX_DECODED_BYTES
    assert unpack("gzip", gzip.compress(largest, 1)) == largest


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"[]" * 100, mtime=0)[:-9]),
        ("gzip", b"not gzip"),
        ("zlib", b"not zlib"),
        ("br", b"[]"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_a_value_error(encoding, body):
    with pytest.raises(ValueError, match=r"\S"):
        unpack(encoding, body)


FLIPPED = "UPDATE chunk SET body = CAST(x'00' || substr(body, 2) AS BLOB) WHERE seq = ?"


@pytest.mark.parametrize(
    "damage",
    [
        FLIPPED,
        "UPDATE chunk SET events = events + 1 WHERE seq = ?",
        "UPDATE chunk SET first_position = first_position + 1 WHERE seq = ?",
        "UPDATE chunk SET received_at = 0 WHERE seq = ?",
        "UPDATE chunk SET published_at = 0 WHERE seq = ?",
        "UPDATE chunk SET day = 5 WHERE seq = ?",
        "UPDATE chunk SET encoding = iif(encoding = '', 'zlib', '') WHERE seq = ?",
        "UPDATE chunk SET remote_address = '10.0.0.1' WHERE seq = ?",
        "UPDATE chunk SET body = zeroblob(0) WHERE seq = ?",
    ],
)
@pytest.mark.parametrize("kind", [{}, {"gzip": True}, {"pad": 3000}])
async def test_a_chunk_that_is_not_what_was_written_is_never_read_as_events(tmp_path, damage, kind):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(2), chunk(3, **kind), chunk(4))
        (before,) = await query(spool, "SELECT body FROM chunk WHERE seq = 2")
        await change(spool, damage, 2)
        lane = await lane_of(spool)
        # What stands before it is read up to it, then it is what is found.
        assert [found.seq for found in await stored(spool)] == [1]
        run = await spool.read(lambda connection: next_run(connection, lane))
        assert (run.first, run.last) == (0, 1)
        await deliver(spool)
        lane = await lane_of(spool)
        with pytest.raises(DamagedChunk) as found:
            await spool.read(lambda connection: next_run(connection, lane))
        assert found.value.chunk.seq == 2
        if "body" not in damage:
            assert found.value.chunk.body == before[0]


async def test_a_damaged_chunk_is_set_aside_and_the_lane_goes_on(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(3), chunk(4))
        await change(spool, FLIPPED, 1)
        lane = await lane_of(spool)
        letter = settle.DeadLetter(0, START // A_DAY, 1, None, "", "damaged", 0, "", b"")
        passage = Passage(1, 2, 0, 3, ((START // A_DAY, 3),), 100)
        assert await spool.write(
            lambda connection: settle.buried(
                connection,
                lane.id,
                letter,
                passage,
                epoch=spool.epoch.name,
                batch=None,
                now=0,
                fate="damaged",
            )
        )
        assert await ledger(spool) == {"accepted": 7, "pending": 4, "damaged": 3}
        assert await query(spool, "SELECT seq FROM chunk") == [(2,)]
        lane = await lane_of(spool)
        # That it was damaged says nothing of how the upstream likes our events.
        assert (lane.cursor_seq, lane.cursor_position, lane.judged) == (2, 3, 0)
        assert await deliver(spool)


async def test_sequence_and_position_never_start_again_after_a_full_drain(tmp_path):
    for round_ in range(3):
        async with spool_in(tmp_path) as spool:
            await accept(spool, chunk(2))
            assert await query(spool, "SELECT seq, first_position FROM chunk") == [(round_ + 1, round_ * 2)]
            await deliver(spool)
            assert await query(spool, "SELECT count(*) FROM chunk") == [(0,)]
            lane = await lane_of(spool)
            assert (lane.cursor_seq, lane.cursor_position) == (round_ + 2, round_ * 2 + 2)


async def test_streams_have_positions_of_their_own(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(
            spool,
            chunk(2),
            chunk(1, dialect="traintracks", product=PRODUCT, remote_address="1.2.3.4"),
            chunk(2),
            chunk(3, dialect="traintracks", product="other"),
            chunk(1, dialect="traintracks", product=PRODUCT),
        )
        assert await query(spool, "SELECT stream, first_position FROM chunk ORDER BY seq") == [
            (1, 0),
            (2, 0),
            (1, 2),
            (3, 0),
            (2, 1),
        ]
        assert [lane.name for lane in await spool.read(read.lanes)] == [
            "main/samsara",
            f"main/traintracks/{PRODUCT}",
            "main/traintracks/other",
        ]


async def test_events_count_for_the_day_of_acceptance_and_for_none_while_the_clock_is_bad(tmp_path):
    clocks = StandingClocks()
    async with spool_in(tmp_path, clocks=clocks) as spool:
        await accept(spool, chunk(1, received_at=START))
        await accept(spool, chunk(2, received_at=START + A_DAY))
        clocks.good = False
        await accept(spool, chunk(4, received_at=7 * A_DAY))
        rows = await query(spool, "SELECT day, accepted FROM ledger ORDER BY day")
        assert rows == [(0, 4), (START // A_DAY, 1), (START // A_DAY + 1, 2)]
        assert await query(spool, "SELECT day, events FROM intake ORDER BY day") == rows


async def test_two_upstreams_share_chunks_and_each_has_its_own_count(tmp_path):
    async with spool_in(tmp_path, wanted("main"), wanted("second")) as spool:
        await accept(spool, chunk(2), chunk(2))
        assert await query(spool, "SELECT count(*) FROM chunk") == [(2,)]
        await deliver(spool)
        assert await query(spool, "SELECT count(*) FROM chunk") == [(2,)]
        assert await ledger(spool) == {"accepted": 4, "delivered": 4}
        assert await ledger(spool, "second/samsara") == {"accepted": 4, "pending": 4}
        assert await query(spool, "SELECT events FROM intake") == [(4,)]


async def test_what_no_upstream_takes_is_not_taken(tmp_path):
    async with spool_in(tmp_path, wanted(takes=lambda dialect, _: dialect == "samsara")) as spool:
        with pytest.raises(NotTaken, match="no upstream takes traintracks p"):
            spool.submit(chunk(1, dialect="traintracks", product="p"))
        await accept(spool, chunk(1))
        assert await query(spool, "SELECT count(*) FROM chunk") == [(1,)]
