from __future__ import annotations

import json

import pytest
from fakes.chunks import UNBOUNDED, in_row
from hypothesis import given
from hypothesis import strategies as st

from collector.core.batch import Chunk, Options
from collector.core.choosing import Bounds, choose
from collector.core.rendering import RENDERER, Context, UnknownRenderer, render

SAMSARA = Context(RENDERER, Options(), "9d1e", "samsara", "")


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
