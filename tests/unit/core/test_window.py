from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.window import DELAYS, FIRST, LARGEST, SMALLEST, Window

MBIT = 1_000_000 / 8


def fill(window: Window, *, bandwidth: float, delay: float, batches: int, compressed: float = 1.0) -> float:
    """Deliver full batches over a link; returns the share of the bandwidth that the last one used."""
    share = 0.0
    for _ in range(batches):
        body = window.body_bytes
        sent = int(body / compressed)
        seconds = delay + sent / bandwidth
        window.delivered(body_bytes=body, sent_bytes=sent, seconds=seconds)
        share = sent / bandwidth / seconds
    return share


@pytest.mark.parametrize("compressed", [1.0, 6.0])
@pytest.mark.parametrize(
    ("mbit", "delay"), [(2, 0.6), (1, 0.3), (20, 0.05), (100, 0.02), (0.5, 1.0), (50, 0.6), (1000, 0.001)]
)
def test_it_grows_to_sixteen_times_bandwidth_and_delay_and_uses_the_link(mbit, delay, compressed):
    window = Window(patience=600)
    share = fill(window, bandwidth=mbit * MBIT, delay=delay, batches=20, compressed=compressed)
    assert window.size == pytest.approx(max(FIRST, min(LARGEST, DELAYS * mbit * MBIT * delay)), rel=0.02)
    assert share >= 0.94 or window.size == LARGEST


def test_a_batch_takes_no_more_than_a_share_of_the_time_out():
    window = Window(patience=8)
    fill(window, bandwidth=2 * MBIT, delay=0.6, batches=20)
    assert window.size == pytest.approx(2 * MBIT * 2, rel=0.02)


def test_batches_that_do_not_fill_it_make_it_no_larger():
    window = Window()
    for _ in range(50):
        window.delivered(body_bytes=9000, sent_bytes=1000, seconds=0.1)
    assert window.size == FIRST


def test_where_nothing_is_measured_it_grows_with_what_is_taken():
    window = Window()
    for _ in range(20):
        window.delivered(body_bytes=window.body_bytes, sent_bytes=0, seconds=None)
    assert window.size == LARGEST


def test_a_link_that_breaks_halves_it_and_it_grows_again():
    window = Window()
    fill(window, bandwidth=20 * MBIT, delay=0.5, batches=20)
    before = window.size
    window.failed()
    assert window.size == before // 2
    for _ in range(50):
        window.failed()
    assert window.size == SMALLEST
    fill(window, bandwidth=20 * MBIT, delay=0.5, batches=20)
    assert window.size >= 0.9 * before


def test_a_link_that_became_slow_makes_it_small_again():
    window = Window()
    fill(window, bandwidth=100 * MBIT, delay=0.1, batches=20)
    assert window.size == LARGEST
    fill(window, bandwidth=1 * MBIT, delay=0.1, batches=40)
    assert window.size == pytest.approx(DELAYS * MBIT * 0.1, rel=0.6)


@given(
    st.lists(
        st.tuples(st.integers(1, 1 << 24), st.integers(0, 1 << 24), st.none() | st.floats(0, 600)) | st.none()
    )
)
def test_whatever_is_measured_it_stays_within_its_bounds(deliveries):
    window = Window()
    for delivery in deliveries:
        if delivery is None:
            window.failed()
        else:
            body, sent, seconds = delivery
            window.delivered(body_bytes=body, sent_bytes=sent, seconds=seconds)
        assert SMALLEST <= window.size <= LARGEST
        assert window.body_bytes >= window.size
