"""Dead letters: shown in pages, bounded in number, size and age, ended by command."""

from __future__ import annotations

import json

import msgspec
import pytest
from fakes.clocks import A_DAY, StandingClocks
from fakes.letters import bury, kept
from fakes.spools import accept, change, chunk, ledger, query, spool_in, wanted

from collector.spool import letters, replay
from collector.spool.identity import Machine
from collector.spool.letters import Choice, UnknownLane
from collector.spool.options import LetterBounds

EVERYTHING = Choice(all=True)


@pytest.fixture
def clocks():
    return StandingClocks()


@pytest.fixture
async def spool(tmp_path, clocks):
    async with spool_in(tmp_path, clocks=clocks) as opened:
        yield opened


async def page(spool, choice=EVERYTHING, **asked):
    return await spool.read(lambda connection: letters.page(connection, choice, **asked))


async def ids(spool):
    return [letter.id for letter in await kept(spool)]


async def test_a_letter_is_kept_with_its_event_and_why_it_died(spool, clocks):
    body = b'[{"timestamp": 1, "sourceId": "till",\n "eventName": "sold"}]'
    await accept(spool, chunk(1, body=body, received_at=clocks.wall))
    await bury(spool)
    (letter,) = await kept(spool)
    assert letter == letters.Letter(
        id=1,
        lane="main/samsara",
        epoch=spool.epoch.name,
        position=0,
        day="2027-01-15",
        received_at=clocks.wall,
        published_at=None,
        remote_address="",
        died_at=7,
        reason="sourceId: expected string",
        status=400,
        answer='["sourceId: expected string"]',
        damaged=False,
        size=len(body) - 2 + 2 * len("sourceId: expected string") + 4,
        event=letter.event,
    )
    assert bytes(letter.event) == body[1:-1]


async def test_pages_follow_each_other_and_end(spool):
    await accept(spool, chunk(5))
    await bury(spool, 5)
    first = await page(spool, limit=2)
    assert ([letter.id for letter in first.letters], first.next) == ([1, 2], 2)
    second = await page(spool, limit=2, after=2)
    assert ([letter.id for letter in second.letters], second.next) == ([3, 4], 4)
    third = await page(spool, limit=2, after=4)
    assert ([letter.id for letter in third.letters], third.next) == ([5], None)


async def test_a_page_with_events_stays_small_but_never_empty(spool, monkeypatch):
    await accept(spool, chunk(3, pad=1000))
    await bury(spool, 3)
    monkeypatch.setattr(letters, "PAGE_BYTES", 2500)
    first = await page(spool, events=True)
    assert ([letter.id for letter in first.letters], first.next) == ([1, 2], 2)
    assert len((await page(spool)).letters) == 3
    monkeypatch.setattr(letters, "PAGE_BYTES", 1)
    assert [letter.id for letter in (await page(spool, events=True, after=2)).letters] == [3]


async def test_letters_are_chosen_by_lane_or_by_number(tmp_path):
    async with spool_in(tmp_path, wanted("main"), wanted("second")) as spool:
        await accept(spool, chunk(3))
        await bury(spool, 2)
        await bury(spool, 1, name="second/samsara")
        chosen = await page(spool, Choice(lane="second/samsara"))
        assert [letter.id for letter in chosen.letters] == [3]
        assert [letter.id for letter in (await page(spool, Choice(ids=(3, 1, 99)))).letters] == [1, 3]
        with pytest.raises(UnknownLane, match="no lane third/samsara"):
            await page(spool, Choice(lane="third/samsara"))


@pytest.mark.parametrize("parts", [{}, {"all": True, "lane": "a"}, {"ids": (1,), "lane": "a"}])
def test_a_choice_is_of_one_kind(parts):
    with pytest.raises(ValueError, match="give one of"):
        Choice(**parts)


async def test_purged_letters_stay_counted_as_dead(spool):
    await accept(spool, chunk(4))
    await bury(spool, 4)
    assert await replay.purge(spool, Choice(ids=(1, 3, 99))) == 2
    assert await ids(spool) == [2, 4]
    assert await replay.purge(spool, EVERYTHING) == 2
    assert await ids(spool) == []
    assert await ledger(spool) == {"accepted": 4, "dead": 4}


async def test_a_large_purge_goes_by_bounded_steps(spool, monkeypatch):
    monkeypatch.setattr(letters, "STEP_LETTERS", 2)
    await accept(spool, chunk(5))
    await bury(spool, 5)
    before = spool.counters.commits
    assert await replay.purge(spool, Choice(lane="main/samsara")) == 5
    assert spool.counters.commits - before == 3 + 1
    assert await ids(spool) == []


async def test_beyond_the_count_the_oldest_go_and_stay_counted(tmp_path):
    async with spool_in(tmp_path, letters=LetterBounds(max_count=2)) as spool:
        await accept(spool, chunk(5))
        await bury(spool, 2)
        await spool.maintain()
        assert spool.counters.letters_ended == {}
        await bury(spool, 3)
        await spool.maintain()
        assert await ids(spool) == [4, 5]
        assert spool.counters.letters_ended == {"main/samsara": 3}
        assert await ledger(spool) == {"accepted": 5, "dead": 5}


async def test_beyond_the_size_the_oldest_go(tmp_path):
    async with spool_in(tmp_path, letters=LetterBounds(max_bytes=2500)) as spool:
        await accept(spool, chunk(3, pad=1000))
        await bury(spool, 3)
        await spool.maintain()
        assert await ids(spool) == [2, 3]


async def test_letters_age_by_the_age_clock_alone(tmp_path, clocks):
    bounds = LetterBounds(max_age=A_DAY)
    async with spool_in(tmp_path, clocks=clocks, letters=bounds) as spool:
        await accept(spool, chunk(2))
        await bury(spool)
        clocks.pass_time(A_DAY)
        await spool.maintain()
        await bury(spool)
        clocks.wall += 4000 * A_DAY
        await spool.maintain()
        assert await ids(spool) == [1, 2]
        clocks.pass_time(1)
        await spool.maintain()
        assert await ids(spool) == [2]


async def test_many_letters_beyond_their_bounds_go_by_bounded_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(letters, "STEP_LETTERS", 2)
    async with spool_in(tmp_path, letters=LetterBounds(max_count=0)) as spool:
        await accept(spool, chunk(5))
        await bury(spool, 5)
        await spool.maintain()
        assert await ids(spool) == []
        assert spool.counters.letters_ended == {"main/samsara": 5}


async def test_what_is_left_of_a_damaged_chunk_is_shown_as_it_is_stored(spool):
    await accept(spool, chunk(2))
    await bury(spool)
    await change(spool, "UPDATE dead_letter SET damaged = 1, event = x'00ff'")
    (letter,) = await kept(spool)
    assert letter.damaged
    assert letter.stored == b"\x00\xff"


async def test_the_boot_that_a_letter_came_in_is_remembered_with_it(tmp_path):
    boots = [Machine("machine-a", f"boot-{number}") for number in range(3)]
    async with spool_in(tmp_path, machine=boots[0]) as spool:
        await accept(spool, chunk(1))
        await bury(spool)
    async with spool_in(tmp_path, machine=boots[1]) as spool:
        assert await query(spool, "SELECT name FROM boot ORDER BY id") == [("boot-0",), ("boot-1",)]
        await replay.replay(spool, EVERYTHING)
        assert await query(spool, "SELECT name FROM chunk JOIN boot ON boot.id = boot") == [("boot-0",)]
        await accept(spool, chunk(1))
    async with spool_in(tmp_path, machine=boots[2]) as spool:
        assert await query(spool, "SELECT count(*) FROM boot") == [(3,)]


def test_letters_are_json_with_their_events_as_they_came():
    common = {"id": 1, "lane": "a/samsara", "epoch": "e", "position": 0, "day": "unknown", "received_at": 1}
    common |= {"published_at": None, "remote_address": "", "died_at": 2, "reason": "r", "status": 400}
    common |= {"answer": "", "damaged": False, "size": 5}
    letter = letters.Letter(**common, event=msgspec.Raw(b'{"n": 1.0}'))
    text = msgspec.json.encode(letters.Page(letters=[letter]))
    assert b'"event":{"n": 1.0}' in text
    assert json.loads(text)["letters"] == [{**common, "event": {"n": 1.0}}]
    assert bytes(msgspec.json.decode(text, type=letters.Page).letters[0].event) == b'{"n": 1.0}'
