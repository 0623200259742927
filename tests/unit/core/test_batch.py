from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fakes.chunks import UNBOUNDED, chunk, event, in_row
from hypothesis import given
from hypothesis import strategies as st

from collector.core.batch import lane_name
from collector.core.choosing import Bounds, choose

if TYPE_CHECKING:
    from collector.core.batch import Run


def numbers(run: Run) -> list[int]:
    return [json.loads(raw)["n"] for piece in run.pieces for raw in piece.events]


def test_where_there_is_nothing_there_is_no_run():
    assert choose([], index=0, bounds=UNBOUNDED) is None


def test_a_run_takes_what_there_is_and_ends_behind_it():
    run = choose(in_row(2, 3), index=0, bounds=UNBOUNDED)
    assert numbers(run) == [0, 1, 2, 3, 4]
    assert (run.first, run.last, run.events) == (0, 4, 5)
    assert (run.end_seq, run.end_index) == (4, 0)
    assert run.passed_bytes == sum(item.stored_bytes for item in in_row(2, 3))


def test_a_run_may_begin_and_end_inside_a_chunk():
    chunks = in_row(4, 4)
    run = choose(chunks, index=3, bounds=Bounds(max_events=3, max_bytes=1 << 40))
    assert numbers(run) == [3, 4, 5]
    assert (run.first, run.last, run.end_seq, run.end_index) == (3, 5, 3, 2)
    assert run.passed_bytes == chunks[0].stored_bytes


def test_a_run_that_ends_with_a_chunk_stands_behind_it():
    run = choose(in_row(2, 2), index=0, bounds=Bounds(max_events=2, max_bytes=1 << 40))
    assert (run.end_seq, run.end_index, run.last) == (2, 0, 1)


def test_bytes_are_those_of_the_events_and_the_first_is_taken_whatever_its_size():
    size = len(event(0, pad=100))
    for bound, taken in ((1, 1), (size, 1), (2 * size - 1, 1), (2 * size, 2), (3 * size, 3)):
        run = choose(in_row(2, 2, pad=100), index=0, bounds=Bounds(max_events=99, max_bytes=bound))
        assert run.events == taken


def test_a_run_takes_chunks_up_to_what_may_be_deleted_at_once_and_a_single_larger_one():
    chunks = in_row(2, 2, 2)
    size = chunks[0].stored_bytes
    for most, events in ((2 * size, 4), (2 * size - 1, 2), (1, 2)):
        bounds = Bounds(max_events=100, max_bytes=1 << 40, max_stored_bytes=most)
        assert choose(chunks, index=0, bounds=bounds).events == events


def test_a_run_stops_before_the_end_position():
    chunks = in_row(3, 3)
    for end, last in ((1, 0), (3, 2), (4, 3), (99, 5)):
        bounds = Bounds(max_events=99, max_bytes=1 << 40, end_position=end)
        assert choose(chunks, index=0, bounds=bounds).last == last
    assert choose(chunks, index=0, bounds=Bounds(99, 1 << 40, end_position=0)) is None


def test_a_run_has_one_remote_address_unless_that_does_not_matter():
    chunks = [chunk(1, 0, 2, address="10.0.0.1"), chunk(2, 2, 1, address="10.0.0.1"), chunk(3, 3, 2)]
    run = choose(chunks, index=0, bounds=UNBOUNDED)
    assert (run.last, run.remote_address) == (2, "10.0.0.1")
    anyone = Bounds(max_events=99, max_bytes=1 << 40, one_address=False)
    assert choose(chunks, index=0, bounds=anyone).last == 4


def test_events_are_counted_by_their_day():
    chunks = [chunk(1, 0, 2, day=20_001), chunk(2, 2, 3, day=20_000), chunk(3, 5, 4, day=20_001)]
    run = choose(chunks, index=1, bounds=Bounds(max_events=6, max_bytes=1 << 40))
    assert run.days == ((20_000, 3), (20_001, 3))


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    max_events=st.integers(1, 8),
    max_bytes=st.integers(1, 800),
    data=st.data(),
)
def test_one_run_after_the_other_holds_each_event_once_and_in_order(sizes, max_events, max_bytes, data):
    chunks = in_row(*sizes)
    cursor, position, passed = (0, 0), 0, 0
    taken: list[int] = []
    while position < sum(sizes):
        end = data.draw(st.none() | st.integers(position + 1, sum(sizes)))
        left = [item for item in chunks if item.seq >= cursor[0]]
        run = choose(left, index=cursor[1], bounds=Bounds(max_events, max_bytes, end_position=end))
        assert run.first == position
        assert run.events == run.last - run.first + 1 == sum(count for _, count in run.days)
        assert run.events <= max_events
        assert end is None or run.last < end
        assert run.events == 1 or sum(len(raw) for piece in run.pieces for raw in piece.events) <= max_bytes
        assert (run.end_seq, run.end_index) > cursor
        taken += numbers(run)
        cursor, position, passed = (run.end_seq, run.end_index), run.last + 1, passed + run.passed_bytes
    assert taken == list(range(sum(sizes)))
    assert passed == sum(item.stored_bytes for item in chunks)


def test_a_lane_is_named_for_upstream_dialect_and_product():
    assert lane_name("main", "samsara", "") == "main/samsara"
    assert lane_name("tt", "traintracks", "a32e") == "tt/traintracks/a32e"
