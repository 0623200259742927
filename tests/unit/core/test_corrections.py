"""What a batch's options say of the wall clock when its chunks were stamped."""

from __future__ import annotations

import msgspec
import pytest

from collector.core import batch as batches
from collector.core import choosing, rendering
from collector.core.dialects.traintracks import format_timestamp

RIGHT = 1_800_000_000_000
EVENT = b'{"eventType":"e","clientTimestamp":"2027-01-15T08:00:00.000000+00:00","data":{}}'


def rendered(dialect, *chunks, **options):
    run = choosing.choose(chunks, index=0, bounds=choosing.Bounds(max_events=10, max_bytes=1 << 20))
    context = rendering.Context(rendering.RENDERER, batches.Options(**options), "9d1e", dialect, "")
    return msgspec.json.decode(rendering.render(run, context))


def stamped(seq, boot, received_at):
    return batches.Chunk(seq, seq, 1, 0, received_at, None, "", len(EVENT) + 2, b"[" + EVENT + b"]", boot)


def test_each_chunk_is_corrected_by_what_is_known_of_its_own_stretch():
    chunks = (stamped(1, 7, 60_000), stamped(2, 8, 70_000), stamped(3, 9, RIGHT))
    events = rendered("samsara", *chunks, corrections=((7, RIGHT - 90_000), (9, -5)))
    assert [event["receivedAt"] for event in events] == [RIGHT - 30_000, 70_000, RIGHT - 5]


@pytest.mark.parametrize(
    ("late_before", "stamps"), [(RIGHT, [None]), (RIGHT + 1, [format_timestamp(RIGHT)]), (None, [None])]
)
def test_whether_an_event_is_late_is_asked_of_its_corrected_stamp(late_before, stamps):
    chunk = stamped(1, 7, 60_000)
    events = rendered("traintracks", chunk, late_before=late_before, corrections=((7, RIGHT - 60_000),))
    assert [event.get("serverTimestamp") for event in events] == stamps


def test_options_that_were_kept_before_there_were_corrections_are_read():
    assert msgspec.json.decode(b'{"form":"array"}', type=batches.Options) == batches.Options()
