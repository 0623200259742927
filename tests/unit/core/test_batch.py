from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.batch import (
    RENDERER,
    Bounds,
    Chunk,
    Context,
    Options,
    Run,
    UnknownRenderer,
    choose,
    lane_name,
    render,
)

UNBOUNDED = Bounds(max_events=1_000_000, max_bytes=1 << 40)
SAMSARA = Context(RENDERER, Options(), "9d1e", "samsara", "")


def event(n: int, *, pad: int = 0) -> bytes:
    return b'{"timestamp": 1, "sourceId": "s", "eventName": "e", "n": %d, "pad": "%b"}' % (n, b"x" * pad)


def chunk(seq: int, first: int, events: int, *, day: int = 20_000, address: str = "", pad: int = 0) -> Chunk:
    """A chunk whose events say their position."""
    body = b"[ " + b" , ".join(event(first + n, pad=pad) for n in range(events)) + b"\n]"
    return Chunk(seq, first, events, day, 1_800_000_000_000, None, address, len(body), body)


def in_row(*sizes: int, **options: object) -> list[Chunk]:
    """Chunks of a stream; others' are between them, so `seq` goes up by two."""
    chunks, first = [], 0
    for number, size in enumerate(sizes):
        chunks.append(chunk(2 * number + 1, first, size, **options))
        first += size
    return chunks


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


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    max_events=st.integers(1, 8),
    max_bytes=st.integers(1, 800),
    more=st.lists(st.integers(1, 6), max_size=3),
)
def test_a_sealed_range_gives_the_same_bytes_again_whatever_came_after(sizes, max_events, max_bytes, more):
    run = choose(in_row(*sizes), index=0, bounds=Bounds(max_events, max_bytes))
    again = choose(
        in_row(*sizes, *more),
        index=0,
        bounds=Bounds(max_events=run.events, max_bytes=1 << 62, one_address=False),
    )
    assert again == run
    assert render(again, SAMSARA) == render(run, SAMSARA)


STAMPED = (
    b'[{"timestamp": 1, "sourceId": "s", "eventName": "e", "n": 1, "pad": "","receivedAt":1800000000000%b},'
    b'{"timestamp": 1, "sourceId": "s", "eventName": "e", "n": 2, "pad": "","receivedAt":1800000000000%b}]'
)


def test_a_samsara_batch_is_an_array_of_the_events_own_bytes_and_their_stamps():
    run = choose(in_row(2, 1), index=1, bounds=UNBOUNDED)
    assert render(run, SAMSARA) == STAMPED % (b"", b"")


def test_ids_are_made_of_epoch_and_position():
    run = choose(in_row(2, 1), index=1, bounds=UNBOUNDED)
    context = Context(RENDERER, Options(stamp_ids=True), "9d1e", "samsara", "")
    assert render(run, context) == STAMPED % (b',"id":"9d1e.1"', b',"id":"9d1e.2"')


@pytest.mark.parametrize(
    ("late_before", "late"), [(None, False), (1_800_000_000_000, False), (1 << 53, True)]
)
def test_late_traintracks_events_say_when_they_were_accepted(late_before, late):
    run = choose(in_row(1), index=0, bounds=UNBOUNDED)
    context = Context(RENDERER, Options(late_before=late_before), "9d1e", "traintracks", "a32e")
    (rendered,) = json.loads(render(run, context))
    assert rendered.get("serverTimestamp") == ("2027-01-15T08:00:00.000000+00:00" if late else None)


def test_lines_say_what_the_headers_of_a_batch_would():
    chunks = [
        Chunk(1, 7, 2, 20_000, 5, None, "10.0.0.1", 9, b'[{"a":\n1},{\r\n"b": "\\n"}]'),
    ]
    run = choose(chunks, index=0, bounds=UNBOUNDED)
    context = Context(RENDERER, Options(form="lines"), "9d1e", "traintracks", "a32e")
    head = b'{"dialect":"traintracks","product":"a32e","remoteAddress":"10.0.0.1","epoch":"9d1e"'
    assert render(run, context).splitlines() == [
        head + b',"position":7,"event":{"a": 1}}',
        head + b',"position":8,"event":{  "b": "\\n"}}',
    ]
    samsara = Context(RENDERER, Options(form="lines"), "9d1e", "samsara", "")
    plain = render(choose(in_row(1), index=0, bounds=UNBOUNDED), samsara)
    assert plain.startswith(b'{"dialect":"samsara","epoch":"9d1e","position":0,"event":{"timestamp": 1,')


def test_a_batch_of_a_later_release_is_not_rendered():
    run = choose(in_row(1), index=0, bounds=UNBOUNDED)
    with pytest.raises(UnknownRenderer, match="2"):
        render(run, Context(RENDERER + 1, Options(), "9d1e", "samsara", ""))


def test_a_lane_is_named_for_upstream_dialect_and_product():
    assert lane_name("main", "samsara", "") == "main/samsara"
    assert lane_name("tt", "traintracks", "a32e") == "tt/traintracks/a32e"
