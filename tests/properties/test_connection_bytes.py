"""Whatever bytes a client sends, a connection ends or waits in order; nothing breaks, hangs or grows."""

from __future__ import annotations

import gzip

import trio
import trio.testing
from fakes.raw_bytes import MAX_HELD, TABLES, converse
from hypothesis import given, settings
from hypothesis import strategies as st

PIECES = st.one_of(st.sampled_from(TABLES), st.binary(max_size=60), st.just(gzip.compress(b"[]")))


@st.composite
def reads(draw):
    """What comes in, cut as it may be."""
    data = b"".join(draw(st.lists(PIECES, max_size=14)))
    size = draw(st.integers(min_value=1, max_value=max(1, len(data))))
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(reads())
@settings(max_examples=400)
def test_no_bytes_break_hang_or_bloat_a_connection(pieces):
    seen = trio.run(converse, pieces, clock=trio.testing.MockClock(autojump_threshold=0))
    assert seen.reports == []
    assert seen.ended
    assert seen.held <= MAX_HELD
    assert 500 not in seen.statuses
