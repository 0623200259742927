from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.narrowing import (
    REJECT_MIN_JUDGED,
    SMALLEST_LIMIT,
    bad_deploy,
    half_end,
    limit_after_delivery,
    limit_after_too_large,
)


@pytest.mark.parametrize(("first", "end", "half"), [(0, 8, 4), (0, 7, 3), (5, 7, 6), (5, 6, 6), (10, 13, 11)])
def test_the_left_half_ends_in_the_middle_and_is_never_empty(first, end, half):
    assert half_end(first, end) == half


@given(events=st.integers(1, 5000), data=st.data())
def test_a_bad_event_is_cornered_in_about_log2_steps_and_all_before_it_pass(events, data):
    bad = data.draw(st.integers(0, events - 1))
    first, end, steps = 0, events, 0
    while end - first > 1 or first != bad:
        half = half_end(first, end)
        assert first < half <= end
        if half <= bad:
            first = half
        else:
            end = half
        steps += 1
    assert steps <= math.ceil(math.log2(events)) + 1


@pytest.mark.parametrize(
    ("judged", "rejected", "verdict"),
    [
        (100, 21, True),
        (100, 20, False),
        (99, 99, False),  # too few events to say
        (10_000, 2_001, True),
        (10_000, 2_000, False),
    ],
)
def test_a_deploy_is_bad_when_more_than_the_limit_is_refused_of_enough_events(judged, rejected, verdict):
    assert bad_deploy(judged=judged, rejected=rejected, limit=0.2) is verdict


def test_a_few_refusals_are_no_bad_deploy_whatever_the_limit():
    assert not bad_deploy(judged=100, rejected=9, limit=0.01)
    assert bad_deploy(judged=100, rejected=10, limit=0.01)


def test_a_limit_of_everything_never_blocks():
    assert not bad_deploy(judged=REJECT_MIN_JUDGED, rejected=REJECT_MIN_JUDGED, limit=1.0)


def test_a_size_that_was_too_large_is_halved_down_to_the_smallest():
    assert limit_after_too_large(100_000) == 50_000
    assert limit_after_too_large(1_500) == SMALLEST_LIMIT


def test_a_delivery_far_below_the_limit_teaches_nothing():
    assert limit_after_delivery(10_000, size=4_000, most=1_000_000) == 10_000
    assert limit_after_delivery(None, size=8_000, most=1_000_000) is None


def test_a_limit_grows_slowly_while_batches_come_near_it_until_it_is_forgotten():
    limit, most, deliveries = SMALLEST_LIMIT, 2 * SMALLEST_LIMIT, 0
    while limit is not None:
        grown = limit_after_delivery(limit, size=limit, most=most)
        assert grown is None or limit < grown < 1.1 * limit
        limit = grown
        deliveries += 1
    # An upstream whose limit is fixed refuses so many batches less than it takes.
    assert 20 < deliveries < 100
