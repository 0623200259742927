from __future__ import annotations

import sqlite3
from functools import partial

import pytest
import trio
from fakes.forwarding import inline
from fakes.lanes import START_MS, samsara, site, traintracks
from fakes.sender import ScriptedSender, after, answer, refusing, too_large
from structlog.testing import capture_logs

from collector.config.model import Backoff, Upstream
from collector.core.verdict import Delivered
from collector.errors import SpoolDamaged, SpoolUnavailable
from collector.forwarder import lane as lane_module
from collector.forwarder.file import FileSender
from collector.spool import retention, settle


class Refusals:
    """Stands before a spool's `write`, and refuses some of it as a bad disk would.

    By a plan, where `x` refuses and `.` lets through, or always what one function settles.
    """

    def __init__(self, spool, plan="", *, always=None):
        self.plan = list(plan)
        self.refused = 0
        self._always = always
        self._write = spool.write
        spool.write = self

    async def __call__(self, work):
        if (self.plan and self.plan.pop(0) == "x") or (
            self._always and getattr(work, "func", None) is self._always
        ):
            self.refused += 1
            await trio.lowlevel.checkpoint()
            raise SpoolUnavailable("disk I/O error (SQLITE_IOERR_FSYNC)")
        return await self._write(work)


async def expire_all(here):
    """What retention does to events that are too old, were all of them."""
    in_flight = here.spool.in_flight
    await here.spool.write(partial(retention.expire, accepted_before=1 << 62, in_flight=in_flight))


@pytest.mark.parametrize(
    "step",
    [
        answer(200),
        answer(503),
        answer(401),
        too_large(0),
        refusing(1),
        refusing(1, naming=True),
        refusing(0, 1, 2),
    ],
    ids=["delivered", "retry", "blocked", "split", "rejected", "named", "all"],
)
async def test_whatever_the_disk_refuses_is_settled_when_it_can_be(tmp_path, autojump_clock, step):
    sender = ScriptedSender(step, step)
    with capture_logs() as logs:
        async with site(tmp_path, {samsara(): sender}) as here:
            refusals = Refusals(here.spool, "xxx." * 30)
            await here.accept(3)
            await trio.sleep(1000)
            refusals.plan.clear()
            await trio.sleep(1000)
            ledger = await here.ledger()
            dead = [letter[0] for letter in await here.dead_letters()]
            taken = sender.taken.get("samsara/samsara", [])
            assert refusals.refused >= 6
            assert sorted(taken + dead) == [0, 1, 2]
            assert (taken, dead) == (sorted(taken), sorted(dead))
            assert ledger.pop("accepted") == 3
            assert "pending" not in ledger
            bodies = {(attempt.batch.id, attempt.body) for attempt in sender.attempts}
            assert len(bodies) == len({batch_id for batch_id, _ in bodies})
    told = [line["event"] for line in logs]
    assert told.count("settling_waits") == told.count("settling_goes_on") == refusals.refused // 3


async def test_a_delivery_that_could_not_be_settled_is_not_sent_twice(tmp_path, autojump_clock):
    sender = ScriptedSender()
    async with site(tmp_path, {samsara(): sender}) as here:
        Refusals(here.spool, "." + "x" * 50)
        await here.accept(3)
        await trio.sleep(45)
        assert await here.ledger() == {"accepted": 3, "pending": 3}
        await trio.sleep(10)
        assert sender.ranges == [(0, 2)]
        assert await here.ledger() == {"accepted": 3, "delivered": 3}


async def test_a_delivery_that_was_not_settled_before_the_end_is_repeated_with_its_key(
    tmp_path, autojump_clock
):
    sender = ScriptedSender()
    async with site(tmp_path, {samsara(): sender}) as here:
        Refusals(here.spool, "." + "x" * 50)
        await here.accept(3)
        await trio.sleep(1)
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(3)
        await here.quiet()
        assert sender.ranges == [(0, 2), (0, 2), (3, 5)]
        first, second, _ = sender.attempts
        assert (first.batch.id, first.body) == (second.batch.id, second.body)


async def test_a_batch_that_cannot_be_made_again_is_replaced_and_told(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(503), answer(503))
    with capture_logs() as logs:
        async with site(tmp_path, {samsara(): sender}) as here:
            await here.accept(3)
            await here.quiet()
            await here.accept(3)
            await here.change("UPDATE batch SET renderer = 99")
            await trio.sleep(60)
            old, new, again, rest = sender.attempts
            assert (new.batch.replaces, again.batch.replaces) == (old.batch.id, old.batch.id)
            assert old.batch.id != new.batch.id == again.batch.id
            assert sender.ranges == [(0, 2), (0, 2), (0, 2), (3, 5)]
            assert rest.batch.replaces is None
            assert await here.ledger() == {"accepted": 6, "delivered": 6}
    assert [line for line in logs if line["event"] == "batch_unrenderable"] == [
        {
            "event": "batch_unrenderable",
            "log_level": "error",
            "lane": "samsara/samsara",
            "batch": old.batch.id,
            "reason": "this release does not have its renderer, number 99",
        }
    ]


async def test_a_damaged_chunk_ends_in_the_ledger_and_everything_else_goes_on(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(503))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(2, 3, 4)
        await here.quiet()
        await here.change("UPDATE chunk SET body = CAST(replace(body, 'sold', 'sald') AS BLOB) WHERE seq = 2")
        await trio.sleep(60)
        assert sender.taken["samsara/samsara"] == [0, 1, 5, 6, 7, 8]
        assert not any(b"sald" in attempt.body for attempt in sender.attempts)
        assert await here.ledger() == {"accepted": 9, "delivered": 6, "damaged": 3}
        assert await here.dead_letters() == [(2, "damaged: its checksum does not fit", 0)]


@pytest.mark.parametrize("damage", ["day = 0", "day = day + 4096", "day = day + 1, body = x'00'"])
async def test_a_damaged_chunk_of_a_day_that_the_ledger_does_not_have_holds_up_no_lane(
    tmp_path, autojump_clock, damage
):
    sender = ScriptedSender(answer(503))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(2, 3, 4)
        await here.quiet()
        await here.change(f"UPDATE chunk SET {damage} WHERE seq = 2")  # noqa: S608 (the test's own)
        await trio.sleep(60)
        assert sender.taken["samsara/samsara"] == [0, 1, 5, 6, 7, 8]
        assert await here.ledger() == {"accepted": 9, "delivered": 6, "damaged": 3}


async def test_a_damaged_chunk_that_was_all_of_a_sealed_batch_is_given_up_with_it(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(503))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(3)
        await here.quiet()
        await here.change("UPDATE chunk SET body = x'00'")
        await here.accept(2)
        await trio.sleep(60)
        assert sender.ranges == [(0, 2), (3, 4)]
        assert await here.ledger() == {"accepted": 5, "delivered": 2, "damaged": 3}
        assert len(await here.batches()) == 0


async def test_retention_spares_a_batch_whose_attempt_is_under_way(tmp_path, autojump_clock):
    sender = ScriptedSender(after(10, Delivered()))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(3)
        await trio.sleep(1)
        await expire_all(here)
        await trio.sleep(20)
        assert await here.ledger() == {"accepted": 3, "delivered": 3}


async def test_a_batch_that_retention_ended_while_it_waited_is_not_sent_again(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(503, retry_after="100"))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(3)
        await trio.sleep(1)
        await expire_all(here)
        await here.accept(2)
        await trio.sleep(200)
        assert sender.ranges == [(0, 2), (3, 4)]
        assert await here.ledger() == {"accepted": 5, "delivered": 2, "expired": 3}


async def test_a_lane_that_was_moved_under_way_does_not_spin(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=after(0, Delivered()))
    async with site(tmp_path, {samsara(): sender}) as here:
        write = here.spool.write

        async def moved(_work):
            await trio.lowlevel.checkpoint()
            return False

        here.spool.write = moved
        await here.accept(3)
        await trio.sleep(5.5)
        assert sender.attempts == []
        here.spool.write = write
        await trio.sleep(1)
        assert sender.taken["samsara/samsara"] == [0, 1, 2]


async def test_a_defect_stops_its_own_lane_alone_which_says_so_and_tries_again(tmp_path, autojump_clock):
    def defect(_batch, _body):
        raise KeyError("X-Product-Auth: 5ebe2294ecd0e0f08eab7690d2a6ee69")

    broken, fine = ScriptedSender(defect, defect), ScriptedSender()
    upstreams = {samsara("broken", backoff=Backoff(max=60)): broken, samsara("fine"): fine}
    with capture_logs() as logs:
        async with site(tmp_path, upstreams) as here:
            await here.accept(3)
            await here.quiet()
            lane = await here.lane("broken/samsara")
            assert lane.state == "blocked"
            assert lane.reason.startswith("a defect of Waystation: KeyError in test_lane_faults.py:")
            assert lane.next_attempt_at == START_MS + 45_000
            await here.accept(3)
            await here.quiet()
            assert fine.taken["fine/samsara"] == [0, 1, 2, 3, 4, 5]
            await trio.sleep(100)
            assert broken.times == [0, 45, 90, 90]
            assert broken.taken["broken/samsara"] == [0, 1, 2, 3, 4, 5]
            assert len({attempt.batch.id for attempt in broken.attempts}) == 2
            assert (await here.lane("broken/samsara")).state == "healthy"
    halted = [line for line in logs if line["event"] == "lane_halted"]
    assert len(halted) == 1
    assert " > test_lane_faults.py:" in halted[0]["where"]
    assert "5ebe2294" not in str(logs) + lane.reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (sqlite3.DatabaseError("database disk image is malformed"), "the spool fails: database disk"),
        (MemoryError(), "a defect of Waystation: MemoryError in test_lane_faults.py"),
    ],
)
async def test_a_lane_that_cannot_read_says_so_and_tries_again(
    tmp_path, autojump_clock, monkeypatch, error, reason
):
    prepare = lane_module.prepare
    failures = 3

    def failing(connection, request):
        nonlocal failures
        if failures:
            failures -= 1
            raise error
        return prepare(connection, request)

    monkeypatch.setattr(lane_module, "prepare", failing)
    sender = ScriptedSender()
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(3)
        await here.quiet()
        assert (await here.lane()).state == "blocked"
        assert (await here.lane()).reason.startswith(reason)
        await trio.sleep(200)
        assert sender.taken["samsara/samsara"] == [0, 1, 2]


async def test_a_lane_whose_fault_cannot_even_be_kept_goes_on_trying(tmp_path, autojump_clock):
    sender = ScriptedSender()
    async with site(tmp_path, {samsara(): sender}) as here:
        write = here.spool.write

        async def worse(_work):
            await trio.lowlevel.checkpoint()
            raise sqlite3.IntegrityError("CHECK constraint failed")

        here.spool.write = worse
        await here.accept(3)
        await trio.sleep(200)
        here.spool.write = write
        await trio.sleep(60)
        assert sender.taken["samsara/samsara"] == [0, 1, 2]


async def test_missing_events_end_the_process_and_a_start_makes_up_for_them(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(503))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(2)
        await here.quiet()
        await here.accept(2, 2)
        await here.change("DELETE FROM chunk WHERE seq = 2")
        await trio.sleep(600)
        lane = await here.lane()
        assert (lane.state, lane.reason) == (
            "blocked",
            "the spool is damaged: events are missing from position 2 on",
        )
        # What the daemon waits for, and ends.
        with pytest.raises(SpoolDamaged):
            await here.spool.sound()
        assert sender.taken["samsara/samsara"] == [0, 1]
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.quiet()
        assert sender.taken["samsara/samsara"] == [0, 1, 4, 5]
        assert await here.ledger() == {"accepted": 6, "delivered": 4, "damaged": 2}


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE extent SET first_seq = 2 WHERE first_seq = 3",  # another stream's chunk
        "DELETE FROM extent WHERE first_seq = 3",  # none, where there should be one
    ],
)
async def test_a_damaged_extent_ends_the_process_and_costs_no_event(tmp_path, autojump_clock, damage):
    sender = ScriptedSender(answer(503))
    upstreams = {samsara(): sender, traintracks(): ScriptedSender(*[answer(503)] * 20)}
    async with site(tmp_path, upstreams) as here:
        await here.accept(2)
        await here.quiet()
        await here.accept_traintracks(3)
        await here.accept(2)
        await here.accept_traintracks(1)
        await here.accept(2)
        await here.change(damage)
        await trio.sleep(20)
        assert "the spool is damaged" in (await here.lane()).reason
        with pytest.raises(SpoolDamaged):
            await here.spool.sound()
    async with site(tmp_path, {samsara(): sender, traintracks(): ScriptedSender()}) as here:
        await trio.sleep(60)
        assert sender.taken["samsara/samsara"] == [0, 1, 2, 3, 4, 5]
        assert await here.ledger() == {"accepted": 10, "delivered": 10}


def file_upstream(directory):
    upstream = Upstream(name="file", kind="file", directory=str(directory))
    return upstream, FileSender(directory, run=inline)


def lines(directory):
    return [line for path in sorted(directory.glob("*.ndjson")) for line in path.read_text().splitlines()]


async def test_files_hold_each_event_once_after_deaths_between_writing_and_settling(tmp_path, autojump_clock):
    events = tmp_path / "events"
    for _ in range(2):
        upstream, sender = file_upstream(events)
        async with site(tmp_path / "spool", {upstream: sender}) as here:
            Refusals(here.spool, always=settle.delivered)
            await here.accept(2)
            await trio.sleep(1)
        assert len(lines(events)) == 2
    upstream, sender = file_upstream(events)
    async with site(tmp_path / "spool", {upstream: sender}) as here:
        await here.quiet()
        assert await here.ledger() == {"accepted": 4, "delivered": 4}
    assert [f'"position":{n},' in line for n, line in enumerate(lines(events))] == [True] * 4


async def test_files_that_cannot_be_opened_are_tried_again(tmp_path, autojump_clock):
    events = tmp_path / "events"
    events.mkdir()
    blocking = events / "file.samsara.000001.ndjson"
    upstream, sender = file_upstream(events)
    async with site(tmp_path / "spool", {upstream: sender}) as here:
        await here.accept(2)
        await here.quiet()
    blocking.unlink()
    blocking.mkdir()
    upstream, sender = file_upstream(events)
    async with site(tmp_path / "spool", {upstream: sender}) as here:
        await here.accept(2)
        await here.quiet()
        lane = await here.lane("file/samsara")
        assert (lane.state, lane.reason) == ("retrying", "cannot be opened: Is a directory")
        blocking.rmdir()
        await trio.sleep(60)
        assert await here.ledger() == {"accepted": 4, "delivered": 4}


async def test_two_lanes_of_one_upstream_have_each_their_own_fault(tmp_path, autojump_clock):
    def step(batch, body):
        return answer(401 if batch.product == "b" else 200)(batch, body)

    sender = ScriptedSender(otherwise=step)
    async with site(tmp_path, {traintracks(): sender}) as here:
        await here.accept_traintracks(product="a")
        await here.accept_traintracks(product="b")
        await here.quiet()
        await here.accept_traintracks(product="a")
        await here.quiet()
        assert (await here.lane("traintracks/traintracks/a")).cursor_position == 2
        assert (await here.lane("traintracks/traintracks/b")).state == "blocked"
