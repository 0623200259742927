"""The receiver of docs/receivers.md, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import trio
from fakes.forwarding import make_batch
from fakes.lanes import samsara, site
from fakes.sender import ScriptedSender, answer
from hypothesis import given
from hypothesis import strategies as st

from collector.core.failure import Failure
from collector.core.identity import batch_headers
from collector.core.verdict import Delivered, Outcome, judge_failure

PAGE = Path(__file__).parents[3] / "docs/receivers.md"
SOURCE = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
LANE = ("kiosk-17", "9d1e", "samsara/samsara")


class Receiver:
    def __init__(self):
        self.space = {}
        exec(compile(SOURCE, "receivers.md", "exec"), self.space)  # noqa: S102 (what the page shows)
        self.taken = []
        self.gaps = []

    def take(self, headers, events):
        new, gap = self.space["receive"](headers, events)
        self.taken += new
        if gap is not None:
            self.gaps.append(gap)
        return new

    def send(self, first, last, **options):
        batch = make_batch(first=first, events=last - first + 1, **options)
        return self.take(batch_headers(batch), list(range(first, last + 1)))


@pytest.fixture
def receiver():
    return Receiver()


def test_it_has_twenty_lines():
    assert len([line for line in SOURCE.splitlines() if line.strip()]) <= 20


def test_repeats_are_dropped_whole_or_in_part(receiver):
    assert receiver.send(0, 9) == list(range(10))
    assert receiver.send(0, 9) == []
    assert receiver.send(5, 14) == list(range(10, 15))
    assert receiver.send(0, 14) == []
    assert receiver.gaps == []


def test_the_parts_of_a_batch_that_had_been_taken_are_repeats(receiver):
    receiver.send(0, 9)
    for first, last in ((0, 4), (5, 6), (7, 9), (10, 12)):
        receiver.send(first, last, batch_id=f"{first:032x}")
    assert receiver.taken == list(range(13))


def test_a_gap_is_told_by_epoch_lane_and_position(receiver):
    receiver.send(0, 9)
    receiver.send(12, 14)
    receiver.send(12, 20)
    assert receiver.taken == [*range(10), *range(12, 21)]
    assert receiver.gaps == [(*LANE, 10, 11)]


def test_devices_epochs_and_lanes_are_told_apart(receiver):
    receiver.send(0, 9)
    assert receiver.send(0, 1, lane_name="samsara/other") == [0, 1]
    assert receiver.send(3, 4, lane_name="samsara/third") == [3, 4]
    assert receiver.gaps == [("kiosk-17", "9d1e", "samsara/third", 0, 2)]


def test_a_dry_run_changes_nothing(receiver):
    receiver.send(0, 9)
    assert receiver.send(0, -1) == []
    assert receiver.send(10, 11) == [10, 11]


def test_events_that_are_not_those_of_the_header_are_refused(receiver):
    with pytest.raises(ValueError, match="400"):
        receiver.take(batch_headers(make_batch(events=3)), [0, 1])


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3), st.booleans()), max_size=30),
)
def test_any_repeats_and_splits_of_a_lane_are_each_taken_once(batches):
    receiver = Receiver()
    position, missing = 0, []
    for events, lost, again in batches:
        missing += range(position, position + lost)
        first = position + lost
        position = first + events
        receiver.send(first, position - 1)
        if again:
            receiver.send(first, first + events // 2)
            receiver.send(max(0, first - 3), position - 1)
    # What is sent again from before a gap may bring what was lost.
    assert sorted(receiver.taken) == receiver.taken
    assert len(set(receiver.taken)) == len(receiver.taken)
    told = {n for *_, start, end in receiver.gaps for n in range(start, end + 1)}
    assert told == set(missing)
    assert set(range(position)) - set(receiver.taken) == set(missing)


async def test_behind_a_lane_whose_answers_are_lost_it_has_each_event_once(tmp_path, autojump_clock):
    """Answers are lost, batches are split after they were taken, one event is refused for good."""
    receiver = Receiver()

    def taking(verdict):
        def step(batch, body):
            receiver.take(batch_headers(batch), [event["n"] for event in msgspec.json.decode(body)])
            return verdict if isinstance(verdict, Outcome | Delivered) else verdict(batch, body)

        return step

    lost = Outcome(judge_failure(Failure.BROKEN, ""), wrote_body=True)
    script = [taking(lost), taking(answer(413)), taking(Delivered()), taking(lost)]

    def otherwise(batch, body):
        if batch.first <= 70 <= batch.last:
            return answer(400)(batch, body)
        return taking(Delivered())(batch, body)

    sender = ScriptedSender(*script, otherwise=otherwise)
    async with site(tmp_path, {samsara(max_events=40): sender}) as here:
        await here.accept(30, 90)
        await trio.sleep(1000)
        assert (await here.ledger()).get("pending") is None
        assert [letter[0] for letter in await here.dead_letters()] == [70]
    assert receiver.taken == [n for n in range(120) if n != 70]
    assert [gap[1:] for gap in receiver.gaps] == [(here.spool.epoch.name, "samsara/samsara", 70, 70)]
