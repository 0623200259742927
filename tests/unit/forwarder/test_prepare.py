from __future__ import annotations

import hashlib
from functools import partial

import msgspec
import pytest
from fakes.lanes import PRODUCT, START_MS, samsara, site, traintracks
from fakes.letters import bury
from fakes.sender import ScriptedSender

from collector.config.model import Upstream
from collector.errors import SpoolDamaged
from collector.forwarder.prepare import ALL_LATE, prepare
from collector.forwarder.tasks import Bury, Idle, InconsistentError, Ready, Request
from collector.spool import replay, settle
from collector.spool.letters import Choice

ID = "0a" * 16


async def look(here, upstream, *, batch_id=ID, healthy=True):
    """What a lane of an upstream has to do next; the first lane."""
    lane = (await here.query("SELECT lane.id FROM lane JOIN upstream ON upstream.id = lane.upstream"
                             " WHERE upstream.name = ?", upstream.name))[0][0]  # fmt: skip
    request = Request(
        lane=lane, upstream=upstream, batch_id=batch_id, now=here.times.wall_ms(), healthy=healthy
    )
    return await here.spool.read(lambda connection: prepare(connection, request))


async def seal(here, task):
    assert await here.spool.write(partial(settle.seal, batch=task.batch, now=START_MS))


async def deliver(here, task):
    await seal(here, task)
    delivered = partial(
        settle.delivered, batch=task.batch, run=task.run, settled=None, learned_limit=None, now=START_MS
    )
    assert await here.spool.write(delivered)


def resting(directory, *upstreams):
    """A site whose lanes do not run."""
    return site(directory, {upstream: ScriptedSender() for upstream in upstreams}, run=False)


def span(task):
    assert isinstance(task, Ready), task
    return task.batch.first, task.batch.last


async def test_a_batch_takes_what_is_there_up_to_max_events(tmp_path, autojump_clock):
    upstream = samsara(max_events=10)
    async with resting(tmp_path, upstream) as here:
        await here.accept(4, 4, 4, 4)
        task = await look(here, upstream)
        assert span(task) == (0, 9)
        assert task.fresh
        assert [event["n"] for event in msgspec.json.decode(task.body)] == list(range(10))
        assert task.batch.body_sha256 == hashlib.sha256(task.body).digest()
        await deliver(here, task)
        assert span(await look(here, upstream)) == (10, 15)


async def test_a_lane_that_sent_everything_is_idle(tmp_path, autojump_clock):
    upstream = samsara()
    async with resting(tmp_path, upstream) as here:
        await here.accept(2)
        await deliver(here, await look(here, upstream))
        task = await look(here, upstream)
        assert isinstance(task, Idle)
        assert task.linger is None


async def test_a_rendered_batch_stays_within_max_batch_bytes(tmp_path, autojump_clock):
    upstream = samsara(max_batch_bytes=1024)
    async with resting(tmp_path, upstream) as here:
        # What they gain when rendered is as much as they are.
        await here.accept(1, 1, 1, 1, 50)
        ranges = []
        while isinstance(task := await look(here, upstream), Ready):
            assert len(task.body) <= 1024
            ranges.append(span(task))
            await deliver(here, task)
        assert [first for first, _ in ranges] == [0, *(last + 1 for _, last in ranges[:-1])]
        assert ranges[-1][1] == 53
        assert len(ranges) <= 8


async def test_a_batch_for_files_fits_into_one(tmp_path, autojump_clock):
    upstream = Upstream(name="file", kind="file", max_file_bytes=65_536)
    async with resting(tmp_path, upstream) as here:
        await here.accept(100, pad=2000)
        task = await look(here, upstream)
        assert 60_000 < len(task.body) <= 65_536


async def test_a_batch_that_all_files_together_may_hold_no_more_is_replaced(tmp_path, autojump_clock):
    large = Upstream(name="file", kind="file", max_file_bytes=200_000)
    async with resting(tmp_path, large) as here:
        await here.accept(100, pad=2000)
        await seal(here, await look(here, large))
        several = Upstream(name="file", kind="file", max_file_bytes=65_536, max_files=4)
        assert not (await look(here, several)).fresh
        small = Upstream(name="file", kind="file", max_file_bytes=65_536, max_files=3)
        task = await look(here, small, batch_id="0b" * 16)
        assert (task.batch.first, task.batch.replaces) == (0, ID)
        assert 60_000 < len(task.body) <= 65_536


async def test_an_event_larger_than_the_limit_is_sent_alone(tmp_path, autojump_clock):
    upstream = samsara(max_batch_bytes=1024)
    async with resting(tmp_path, upstream) as here:
        await here.accept(1)
        await here.accept(1, pad=5000)
        await here.accept(1)
        ranges = []
        while isinstance(task := await look(here, upstream), Ready):
            ranges.append(span(task))
            await deliver(here, task)
        assert ranges == [(0, 0), (1, 1), (2, 2)]


async def test_a_learned_limit_binds_more_than_the_configured_one(tmp_path, autojump_clock):
    upstream = samsara()
    async with resting(tmp_path, upstream) as here:
        await here.accept(100)
        await here.change("UPDATE lane SET learned_limit = 2000")
        assert len((await look(here, upstream)).body) <= 2000


async def test_a_file_gets_lines_that_say_what_headers_would(tmp_path, autojump_clock):
    upstream = Upstream(name="file", kind="file")
    async with resting(tmp_path, upstream) as here:
        await here.accept_traintracks(2, address="10.0.0.7")
        await here.accept_traintracks(1, address="10.0.0.8")
        task = await look(here, upstream)
        lines = [msgspec.json.decode(line) for line in task.body.splitlines()]
        assert span(task) == (0, 2)  # an address is in each line, so no batch ends for it
        assert [line["remoteAddress"] for line in lines] == ["10.0.0.7", "10.0.0.7", "10.0.0.8"]
        assert [line["position"] for line in lines] == [0, 1, 2]
        assert {(line["product"], line["dialect"]) for line in lines} == {(PRODUCT, "traintracks")}


async def test_a_traintracks_batch_ends_where_the_remote_address_changes(tmp_path, autojump_clock):
    upstream = traintracks()
    async with resting(tmp_path, upstream) as here:
        for address in ("10.0.0.7", "10.0.0.7", "10.0.0.8", "10.0.0.7"):
            await here.accept_traintracks(2, address=address)
        seen = []
        while isinstance(task := await look(here, upstream), Ready):
            seen.append((span(task), task.batch.remote_address))
            await deliver(here, task)
        assert seen == [((0, 3), "10.0.0.7"), ((4, 5), "10.0.0.8"), ((6, 7), "10.0.0.7")]


def stamps(task):
    return [event.get("serverTimestamp") for event in msgspec.json.decode(task.body)]


async def test_a_healthy_lane_stamps_only_what_is_older_than_late_after(tmp_path, mock_clock):
    upstream = traintracks(late_after=60)
    async with resting(tmp_path, upstream) as here:
        await here.accept_traintracks()
        mock_clock.jump(30)
        await here.accept_traintracks()
        mock_clock.jump(31)
        old, young = stamps(await look(here, upstream))
        assert old == "2026-10-14T17:46:40.000000+00:00"
        assert young is None


async def test_a_lane_not_known_healthy_stamps_everything(tmp_path, autojump_clock):
    upstream = traintracks()
    async with resting(tmp_path, upstream) as here:
        await here.accept_traintracks()
        here.times.wall_offset_ms = -3_600_000  # what was accepted seems to lie in the future now
        task = await look(here, upstream, healthy=False)
        assert stamps(task) == ["2026-10-14T17:46:40.000000+00:00"]
        assert task.batch.options.late_before == ALL_LATE


async def test_a_sealed_batch_is_made_again_as_it_was(tmp_path, mock_clock):
    upstream = traintracks()
    async with resting(tmp_path, upstream) as here:
        await here.accept_traintracks(3)
        task = await look(here, upstream)
        await seal(here, task)
        await here.accept_traintracks(3)
        mock_clock.jump(3600)
        again = await look(here, traintracks(max_events=1, late_after=1), batch_id="0b" * 16, healthy=False)
        assert not again.fresh
        assert (again.batch.id, span(again), again.body) == (ID, (0, 2), task.body)
    async with resting(tmp_path, upstream) as here:
        again = await look(here, upstream, batch_id="0c" * 16)
        assert (again.batch.id, span(again), again.body) == (ID, (0, 2), task.body)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("UPDATE batch SET renderer = 99", "this release does not have its renderer, number 99"),
        ("UPDATE batch SET body_sha256 = x'00'", "it renders to other bytes than before"),
        ("UPDATE batch SET last = last + 10", "its events are not all there"),
    ],
)
async def test_a_batch_that_cannot_be_made_again_is_replaced(tmp_path, autojump_clock, damage, reason):
    upstream = samsara()
    async with resting(tmp_path, upstream) as here:
        await here.accept(3)
        await seal(here, await look(here, upstream))
        await here.change(damage)
        task = await look(here, upstream, batch_id="0b" * 16)
        assert task.fresh
        assert (task.replaced.batch.id, task.replaced.reason) == (ID, reason)
        assert (task.batch.id, task.batch.replaces, span(task)) == ("0b" * 16, ID, (0, 2))


async def test_a_replacement_holds_nothing_that_the_replaced_batch_did_not(tmp_path, autojump_clock):
    upstream = samsara()
    async with resting(tmp_path, upstream) as here:
        await here.accept(3)
        await seal(here, await look(here, upstream))
        await here.accept(3)
        await here.change("UPDATE batch SET renderer = 99")
        assert span(await look(here, upstream)) == (0, 2)


async def test_a_replacement_does_not_linger(tmp_path, autojump_clock):
    async with resting(tmp_path, samsara()) as here:
        await here.accept(3)
        await seal(here, await look(here, samsara()))
        await here.change("UPDATE batch SET renderer = 99")
        assert span(await look(here, samsara(linger=3600.0))) == (0, 2)


async def test_a_damaged_chunk_is_never_sent(tmp_path, autojump_clock):
    upstream = samsara()
    async with resting(tmp_path, upstream) as here:
        await here.accept(2, 3, 4)
        await here.change("UPDATE chunk SET body = CAST(replace(body, 'sold', 'sald') AS BLOB) WHERE seq = 2")
        task = await look(here, upstream)
        assert span(task) == (0, 1)
        await deliver(here, task)
        task = await look(here, upstream)
        assert isinstance(task, Bury)
        assert task.damaged
        assert (task.letter.position, task.passage.end_position, task.passage.days[0][1]) == (2, 5, 3)


async def test_a_damaged_chunk_ends_before_what_was_replayed_for_another_lane(tmp_path, autojump_clock):
    first, second = samsara(name="first"), samsara(name="second")
    async with resting(tmp_path, first, second) as here:
        await here.accept(3)
        await bury(here.spool, name="first/samsara")
        await replay.replay(here.spool, Choice(all=True))
        await deliver(here, await look(here, first))
        await here.change("UPDATE chunk SET body = CAST(replace(body, 'sold', 'sald') AS BLOB) WHERE seq = 1")
        await here.accept(2)
        task = await look(here, second)
        assert (task.letter.position, task.passage.end_position, task.passage.days[0][1]) == (0, 3, 3)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE chunk SET events = 5000 WHERE seq = ?",
        "UPDATE chunk SET first_position = 77 WHERE seq = ?",
        "UPDATE chunk SET events = 1 WHERE seq = ?",
    ],
)
async def test_what_a_damaged_chunk_says_of_its_events_is_not_believed(tmp_path, autojump_clock, damage):
    upstream = samsara()
    async with resting(tmp_path, upstream) as here:
        await here.accept(3, 4)
        await here.change(damage, 1)
        task = await look(here, upstream)
        assert (task.letter.position, task.passage.end_position, task.passage.days[0][1]) == (0, 3, 3)
        await here.change(damage, 2)
        await here.change("DELETE FROM chunk WHERE seq = 1")
        await here.change("UPDATE lane SET cursor_seq = 2, cursor_position = 4, cursor_index = 1")
        task = await look(here, upstream)
        assert (task.letter.position, task.passage.end_position, task.passage.days[0][1]) == (4, 7, 3)


async def test_a_damaged_chunk_under_a_sealed_batch_takes_the_batch_with_it(tmp_path, autojump_clock):
    upstream = samsara()
    async with resting(tmp_path, upstream) as here:
        await here.accept(3)
        await seal(here, await look(here, upstream))
        await here.change("UPDATE chunk SET body = x'00'")
        task = await look(here, upstream)
        assert isinstance(task, Bury)
        assert task.replaced.batch.id == ID


async def test_a_lingering_lane_waits_for_company_until_its_oldest_event_is_old_enough(tmp_path, mock_clock):
    upstream = samsara(linger=5.0, max_events=4)
    async with resting(tmp_path, upstream) as here:
        await here.accept(1)
        mock_clock.jump(2)
        await here.accept(1)
        assert (await look(here, upstream)).linger == 3.0
        mock_clock.jump(3)
        assert span(await look(here, upstream)) == (0, 1)


@pytest.mark.parametrize("sizes", [[4], [2, 2], [3, 2], [6]])
async def test_a_full_batch_does_not_linger(tmp_path, autojump_clock, sizes):
    upstream = samsara(linger=5.0, max_events=4)
    async with resting(tmp_path, upstream) as here:
        await here.accept(*sizes)
        assert span(await look(here, upstream)) == (0, 3)


async def test_a_batch_that_is_full_in_bytes_does_not_linger(tmp_path, autojump_clock):
    upstream = samsara(linger=5.0, max_batch_bytes=1024)
    async with resting(tmp_path, upstream) as here:
        await here.accept(1, 1, 1, pad=600)
        assert span(await look(here, upstream)) == (0, 0)


async def test_a_clock_set_back_does_not_make_a_lane_linger(tmp_path, autojump_clock):
    upstream = samsara(linger=5.0)
    async with resting(tmp_path, upstream) as here:
        await here.accept(1)
        here.times.wall_offset_ms = -1_000_000_000
        assert span(await look(here, upstream)) == (0, 0)


async def condemn(here, *positions):
    named = [{"position": position, "reason": f"bad {position}", "status": 400} for position in positions]
    await here.change("UPDATE lane SET condemned = ?", msgspec.json.encode(named).decode())


async def test_named_events_are_buried_when_their_turn_comes(tmp_path, autojump_clock):
    upstream = samsara()
    async with resting(tmp_path, upstream) as here:
        await here.accept(4, 4)
        await condemn(here, 2, 3, 6)
        task = await look(here, upstream)
        assert span(task) == (0, 1)
        await deliver(here, task)
        task = await look(here, upstream)
        assert isinstance(task, Bury)
        assert not task.damaged
        letter = task.letter
        assert (letter.position, letter.reason, letter.status) == (2, "bad 2", 400)
        assert msgspec.json.decode(letter.event)["n"] == 2
        assert (task.passage.end_seq, task.passage.end_index, task.passage.end_position) == (1, 3, 3)


async def test_when_too_much_was_refused_a_named_event_is_sent_once_more_alone(tmp_path, autojump_clock):
    upstream = samsara()
    async with resting(tmp_path, upstream) as here:
        await here.accept(4)
        await condemn(here, 0, 1)
        await here.change("UPDATE lane SET judged = 200, rejected = 100")
        assert span(await look(here, upstream)) == (0, 0)


async def test_of_suspects_the_left_half_goes_first(tmp_path, autojump_clock):
    upstream = samsara(linger=60.0)
    async with resting(tmp_path, upstream) as here:
        await here.accept(5, 5)
        await here.change("UPDATE lane SET suspect_end = 7")
        assert span(await look(here, upstream)) == (0, 2)


async def test_missing_events_are_told_and_not_skipped(tmp_path, autojump_clock):
    upstream = samsara()
    async with resting(tmp_path, upstream) as here:
        await here.accept(2, 2, 2)
        await here.change("DELETE FROM chunk WHERE seq = 2")
        with pytest.raises(SpoolDamaged, match="missing from position 0"):
            await look(here, upstream)
        await here.change("DELETE FROM chunk WHERE seq = 1")
        with pytest.raises(SpoolDamaged, match="missing from position 0"):
            await look(here, upstream)


async def test_a_chunk_with_fewer_events_than_counted_is_told(tmp_path, autojump_clock):
    upstream = samsara()
    async with resting(tmp_path, upstream) as here:
        await here.accept(2, miscounted=1)
        await deliver(here, await look(here, upstream))
        with pytest.raises(InconsistentError, match="chunk 1 holds fewer events"):
            await look(here, upstream)


async def test_a_sealed_batch_whose_events_are_gone_is_told(tmp_path, autojump_clock):
    upstream = samsara()
    async with resting(tmp_path, upstream) as here:
        await here.accept(2)
        await seal(here, await look(here, upstream))
        await here.change("DELETE FROM chunk")
        with pytest.raises(SpoolDamaged, match="events 0 to 1 are not in the spool"):
            await look(here, upstream)


async def test_a_lane_whose_upstream_returned_goes_on_behind_the_gap(tmp_path, autojump_clock):
    gone, stays = samsara("gone"), samsara("stays")
    async with resting(tmp_path, gone, stays) as here:
        await here.accept(2)
    async with resting(tmp_path, stays) as here:
        await here.accept(2)
    async with resting(tmp_path, gone, stays) as here:
        await here.accept(2)
        task = await look(here, gone)
        assert span(task) == (0, 1)
        await deliver(here, task)
        assert span(await look(here, gone)) == (4, 5)
