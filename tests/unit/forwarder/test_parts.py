"""Large batches: drawn from the spool part by part, and packed meanwhile."""

from __future__ import annotations

import dataclasses
import gzip
import os
from functools import partial

import msgspec
import pytest
import trio
from fakes.forwarding import inline
from fakes.lanes import balanced, samsara, site, traintracks
from fakes.sender import PackingSender, ScriptedSender, after, answer

from collector.config.model import Timeouts
from collector.core.limits import MIB
from collector.core.verdict import Delivered
from collector.core.window import LARGEST
from collector.forwarder import parts
from collector.forwarder.drawing import draw
from collector.forwarder.packing import Packed
from collector.forwarder.prepare import prepare
from collector.forwarder.tasks import Ready, Request
from collector.spool import retention, settle
from collector.spool.passage import Passage

NAME = "samsara/samsara"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "WORTH_BYTES", 2_000)
    monkeypatch.setattr(parts, "PART_BYTES", 1_000)


def asked(here, upstream, **options) -> Request:
    ordinary = {
        "lane": 1,
        "upstream": upstream,
        "batch_id": "0a" * 16,
        "now": here.times.wall_ms(),
        "healthy": True,
    }
    return Request(**{**ordinary, "in_parts": True, **options})


async def drawn(here, request, **options) -> Ready:
    (around,) = here.forwarder._around.values()
    task = await draw(around, request, partial(prepare, request=request), **options)
    assert isinstance(task, Ready), task
    return task


def resting(directory, upstream, **options):
    return site(directory, {upstream: PackingSender(**options)}, run=False)


async def running(here, seconds):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.forwarder.run)
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("sizes", [[1] * 60, [7] * 20, [200], [3, 150, 1, 1, 40]])
@pytest.mark.parametrize("options", [{}, {"stamp_ids": True}])
async def test_a_batch_in_parts_is_byte_for_byte_the_one_that_was_made_at_once(
    tmp_path, autojump_clock, sizes, options
):
    upstream = samsara(**options)
    async with resting(tmp_path, upstream) as here:
        await here.accept(*sizes)
        at_once = await drawn(here, asked(here, upstream, in_parts=False))
        in_parts = await drawn(here, asked(here, upstream))
        assert isinstance(in_parts.body, Packed)
        assert gzip.decompress(in_parts.body.content) == at_once.body
        assert len(in_parts.body) == len(at_once.body)
        assert in_parts.batch == at_once.batch
        assert (in_parts.run.first, in_parts.run.last) == (at_once.run.first, at_once.run.last)
        assert Passage.of(in_parts.run) == Passage.of(at_once.run)
        assert in_parts.run.is_shed
        assert {piece.chunk.body for piece in in_parts.run.pieces} == {b""}


async def test_a_backlog_leaves_in_large_batches_and_each_event_once(tmp_path, autojump_clock):
    sender = PackingSender(otherwise=after(0.1, Delivered()))
    async with site(tmp_path, {samsara(max_events=500): sender}, run=False) as here:
        await here.accept(*[30] * 50, 700, 3)
        await running(here, 100)
        assert [number for attempt in sender.attempts for number in attempt.numbers] == list(range(2203))
        assert sender.ranges[:2] == [(0, 499), (500, 999)]
        assert len(sender.packed) >= 4
        assert await here.ledger() == {"accepted": 2203, "delivered": 2203}


async def test_events_of_which_no_two_fit_in_a_part_leave_in_large_batches_too(tmp_path, autojump_clock):
    sender = PackingSender()
    async with site(tmp_path, {samsara(max_batch_bytes=8_000): sender}, run=False) as here:
        await here.accept(*[1] * 5, 5, pad=1_500)
        await running(here, 10)
        assert sender.ranges == [(0, 4), (5, 9)]
        assert len(sender.packed) == 2


async def test_a_large_event_that_is_alone_or_has_no_room_beside_it_leaves_alone(tmp_path, autojump_clock):
    sender = PackingSender()
    async with site(tmp_path, {samsara(max_batch_bytes=2_500): sender}, run=False) as here:
        await here.accept(1, 1, pad=1_500)
        await here.accept(1, pad=4_000)
        await here.accept(1, pad=1_500)
        await running(here, 10)
        assert sender.ranges == [(0, 0), (1, 1), (2, 2), (3, 3)]
        assert sender.packed == []


async def test_a_small_batch_is_not_packed_before_it_is_sent(tmp_path, autojump_clock):
    sender = PackingSender()
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(8)
        await trio.sleep(1)
        assert sender.ranges == [(0, 7)]
        assert sender.packed == []


async def test_a_sender_that_does_not_pack_gets_batches_within_the_bounds_of_what_is_held(
    tmp_path, autojump_clock, monkeypatch
):
    monkeypatch.setattr(parts, "WHOLE_EVENTS", 50)
    monkeypatch.setattr(parts, "WHOLE_BYTES", 3_000)
    sender = ScriptedSender()
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(100)
        await here.accept(10, pad=500)
        await trio.sleep(1)
        assert sender.taken[NAME] == list(range(110))
        assert sender.ranges[0][1] < 50
        assert max(len(attempt.body) for attempt in sender.attempts) <= 3_000


@pytest.mark.parametrize(
    ("limits", "learned"),
    [({"max_batch_bytes": 5_000}, None), ({}, 5_000), ({"max_batch_bytes": 5_001}, None)],
)
async def test_a_batch_in_parts_stays_within_its_bytes(tmp_path, autojump_clock, limits, learned):
    upstream = samsara(**limits)
    async with resting(tmp_path, upstream) as here:
        await here.accept(*[9] * 30)
        await here.change("UPDATE lane SET learned_limit = ?", learned)
        task = await drawn(here, asked(here, upstream))
        body = gzip.decompress(task.body.content)
        assert 4_800 < len(body) <= (learned or upstream.max_batch_bytes)
        assert [event["n"] for event in msgspec.json.decode(body)] == list(range(task.batch.events))


async def test_a_batch_in_parts_ends_with_what_the_link_rewards(tmp_path, autojump_clock):
    upstream = samsara()
    async with resting(tmp_path, upstream) as here:
        # What a body compresses to was told by another batch, and these do not compress.
        await here.accept(*[1] * 1000, pad=lambda: os.urandom(200).hex())
        task = await drawn(here, asked(here, upstream, body_bytes=10 << 20, wire_bytes=100_000))
        # zlib holds some of it back at first.
        assert 100_000 <= len(task.body.content) <= 100_000 + 64 * 1024


async def test_no_batch_of_ordinary_events_is_larger_than_servers_take(tmp_path, autojump_clock, monkeypatch):
    monkeypatch.setattr(parts, "WORTH_BYTES", 2 * MIB)
    monkeypatch.setattr(parts, "PART_BYTES", MIB // 4)
    upstream = samsara(max_events=250_000, max_batch_bytes=64 * MIB)
    async with resting(tmp_path, upstream) as here:
        await here.accept(9_999, pad=lambda: os.urandom(1_000).hex())
        task = await drawn(here, asked(here, upstream))
        assert 0.9 * LARGEST < len(task.body.content) <= LARGEST
        assert task.batch.last < 9_998


async def test_a_batch_holds_no_more_chunks_than_one_transaction_may_delete(
    tmp_path, autojump_clock, monkeypatch
):
    upstream = samsara()
    bounds = parts.bounds
    monkeypatch.setattr(
        "collector.forwarder.prepare.parts.bounds",
        lambda whole: dataclasses.replace(bounds(whole), max_chunks=10),
    )
    begin = parts.begin

    def with_few(lane, batch, run, body, whole, **options):
        return begin(lane, batch, run, body, dataclasses.replace(whole, max_chunks=35), **options)

    monkeypatch.setattr(parts, "begin", with_few)
    async with resting(tmp_path, upstream) as here:
        await here.accept(*[1] * 60)
        task = await drawn(here, asked(here, upstream))
        assert (task.batch.first, task.batch.last) == (0, 34)


async def test_a_batch_in_parts_ends_no_more_of_the_spool_than_one_transaction_may_delete(
    tmp_path, autojump_clock, monkeypatch
):
    upstream = samsara()
    begin = parts.begin

    def with_few(lane, batch, run, body, whole, **options):
        return begin(lane, batch, run, body, dataclasses.replace(whole, max_stored_bytes=4_000), **options)

    monkeypatch.setattr(parts, "begin", with_few)
    async with resting(tmp_path, upstream) as here:
        await here.accept(*[1] * 60, pad=400)
        await here.accept(1, pad=800)
        task = await drawn(here, asked(here, upstream))
        stored = [piece.chunk.stored_bytes for piece in task.run.pieces]
        assert 4_000 - stored[0] < sum(stored) <= 4_000


async def test_a_batch_in_parts_ends_where_the_remote_address_changes(tmp_path, autojump_clock):
    upstream = traintracks(compress=True)
    async with resting(tmp_path, upstream) as here:
        for _ in range(4):
            await here.accept_traintracks(10)
        await here.accept_traintracks(10, address="10.0.0.7")
        task = await drawn(here, asked(here, upstream))
        assert isinstance(task.body, Packed)
        assert (task.batch.first, task.batch.last) == (0, 39)


async def test_the_left_half_of_suspects_comes_in_parts_too(tmp_path, autojump_clock):
    upstream = samsara()
    async with resting(tmp_path, upstream) as here:
        await here.accept(*[10] * 20)
        await here.change("UPDATE lane SET suspect_end = 160")
        task = await drawn(here, asked(here, upstream))
        assert isinstance(task.body, Packed)
        assert (task.batch.first, task.batch.last) == (0, 79)


async def test_a_sealed_batch_is_the_same_after_a_restart(tmp_path, autojump_clock):
    upstream = samsara(max_events=150)
    first = PackingSender(otherwise=answer(503))
    async with site(tmp_path, {upstream: first}, run=False) as here:
        await here.accept(*[10] * 20)
        await running(here, 1)
    second = PackingSender()
    async with site(tmp_path, {upstream: second}) as here:
        await trio.sleep(1000)
        assert {(a.batch.id, a.body) for a in first.attempts} == {
            (second.attempts[0].batch.id, second.attempts[0].body)
        }
        assert second.packed[0] == first.packed[0]
        assert second.ranges == [(0, 149), (150, 199)]


async def test_a_sealed_batch_is_the_same_where_bodies_are_no_longer_packed(tmp_path, autojump_clock):
    first, second = PackingSender(otherwise=answer(503)), ScriptedSender()
    async with site(tmp_path, {samsara(): first}, run=False) as here:
        await here.accept(*[10] * 20)
        await running(here, 1)
    async with site(tmp_path, {samsara(): second}):
        await trio.sleep(1000)
        assert second.attempts[0].batch.id == first.attempts[0].batch.id
        assert second.attempts[0].body == first.attempts[0].body


async def test_a_sealed_batch_whose_later_part_renders_otherwise_is_replaced(tmp_path, autojump_clock):
    first, second = PackingSender(otherwise=answer(503)), PackingSender()
    async with site(tmp_path, {samsara(): first}, run=False) as here:
        await here.accept(*[10] * 20)
        await running(here, 1)
        await here.change("UPDATE batch SET body_sha256 = x'00'")
    async with site(tmp_path, {samsara(): second}) as here:
        await trio.sleep(1000)
        old, new = first.attempts[0].batch, second.attempts[0].batch
        assert new.replaces == old.id
        assert (new.first, new.last) == (old.first, old.last)
        assert await here.ledger() == {"accepted": 200, "delivered": 200}


async def test_a_damaged_chunk_ends_a_batch_before_it(tmp_path, autojump_clock):
    sender = PackingSender()
    async with site(tmp_path, {samsara(): sender}, run=False) as here:
        await here.accept(*[10] * 20)
        await here.change("UPDATE chunk SET body = CAST(replace(body, 'sold', 'sald') AS BLOB) WHERE seq = 9")
        await running(here, 10)
        assert sender.ranges == [(0, 79), (90, 199)]
        assert await here.ledger() == {"accepted": 200, "delivered": 190, "damaged": 10}


async def test_what_retention_takes_between_two_parts_is_not_sent(tmp_path, autojump_clock):
    packed = 0

    async def run(work):
        nonlocal packed
        packed += 1
        if packed == 3:
            await here.spool.write(partial(retention.evict, wanted_bytes=1, in_flight=frozenset()))
        return await inline(work)

    sender = PackingSender(run=run)
    async with site(tmp_path, {samsara(): sender}, run=False) as here:
        await here.accept(*[20] * 20)
        await running(here, 100)
        ledger = await here.ledger()
        assert balanced(ledger)
        assert ledger["evicted"] > 0
        assert sender.taken[NAME] == list(range(ledger["evicted"], 400))


async def test_once_the_link_is_free_a_batch_goes_as_it_is(tmp_path, autojump_clock):
    async def slowly(work):
        await trio.sleep(1)
        return await inline(work)

    sender = PackingSender(otherwise=after(3.5, Delivered()), run=slowly)
    async with site(tmp_path, {samsara(max_events=300): sender}, run=False) as here:
        await here.accept(*[10] * 100)
        await running(here, 300)
        assert sender.taken[NAME] == list(range(1000))
        sizes = [len(attempt.body) for attempt in sender.attempts]
        # The third was begun with the second, and had four parts when that was delivered.
        assert sizes[2] < 10 * parts.PART_BYTES < sizes[0]


async def test_a_lane_has_the_time_that_what_it_sends_takes_and_not_its_text(tmp_path, autojump_clock):
    patience_bytes = 500_000  # a minute's
    sender = PackingSender(*[after(0.1, Delivered())] * 4, otherwise=after(10_000, Delivered()))
    upstream = samsara(max_events=10_000, max_batch_bytes=8 * MIB, timeouts=Timeouts(total=60))
    async with site(tmp_path, {upstream: sender}, run=False) as here:
        await here.accept(*[100] * 100, pad=400)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.forwarder.run)
            await trio.sleep(10)
            assert len(sender.attempts) == 5
            assert sender.packed[-1] < len(sender.last.body) / 10
            assert len(sender.last.body) > patience_bytes
            assert here.forwarder.stuck() == {}
            await trio.sleep(150)
            assert list(here.forwarder.stuck()) == [NAME]
            nursery.cancel_scope.cancel()


async def test_watchers_are_told_how_many_events_they_missed(tmp_path, autojump_clock):
    sightings = []
    async with site(tmp_path, {samsara(): PackingSender()}, run=False) as here:
        here.forwarder.tap.watchers.append(sightings.append)
        await here.accept(*[10] * 20)
        await running(here, 10)
        (sighting,) = sightings
        assert (sighting.what, sighting.count) == ("delivered", 200)
        assert sighting.size > 1 << 60


class _Meanwhile(PackingSender):
    """One during whose packing of each first part something else happens."""

    def __init__(self, happens) -> None:
        super().__init__()
        self._happens = happens

    def packing(self):
        packing = super().packing()
        add, happens = packing.add, self._happens

        async def and_meanwhile(part):
            await add(part)
            if part.startswith(b"["):
                await happens()

        packing.add = and_meanwhile
        return packing


@pytest.mark.parametrize("left", [0, 40])
async def test_a_sealed_batch_that_ends_while_it_is_made_again_is_no_damage(tmp_path, autojump_clock, left):
    async def happens():
        if await here.batches() == [sealed]:
            evict = partial(retention.evict, wanted_bytes=1, in_flight=frozenset())
            assert await here.spool.write(evict) == {NAME: 60}

    sealed, sender = "", _Meanwhile(happens)
    async with site(tmp_path, {samsara(max_events=60): sender}, run=False) as here:
        await here.accept(*[10] * 6, *[10] * (left // 10))
        ready = await drawn(here, asked(here, samsara(max_events=60)))
        assert ready.batch.events == 60
        assert await here.spool.write(partial(settle.seal, batch=ready.batch, now=0))
        sealed = ready.batch.id
        await running(here, 10)
        assert here.spool.damage is None
        assert sum(attempt.batch.events for attempt in sender.attempts) == left
        assert balanced(await here.ledger())
        assert (await here.ledger())["evicted"] == 60
