from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.backoff import full_jitter, next_delay

ALMOST_ONE = 1 - 2**-53


@pytest.mark.parametrize(
    ("failures", "ceiling"), [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (8, 60.0), (5000, 60.0)]
)
def test_the_ceiling_doubles_up_to_the_highest(failures, ceiling):
    longest = full_jitter(failures, initial=1.0, max_delay=60.0, chance=ALMOST_ONE)
    assert longest == pytest.approx(ceiling)
    assert full_jitter(failures, initial=1.0, max_delay=60.0, chance=0.5) == pytest.approx(ceiling / 2)
    assert full_jitter(failures, initial=1.0, max_delay=60.0, chance=0.0) == 0.0


def test_no_failure_waits_for_nothing():
    assert full_jitter(0, initial=1.0, max_delay=60.0, chance=0.9) == 0.0


@given(
    failures=st.integers(0, 10_000),
    initial=st.floats(0.001, 3600),
    max_delay=st.floats(0.001, 86400),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_never_negative_nor_above_the_highest(failures, initial, max_delay, chance):
    wait = full_jitter(failures, initial=initial, max_delay=max_delay, chance=chance)
    assert 0 <= wait <= max_delay


@pytest.mark.parametrize(
    ("asked", "wait"), [(None, 2.0), (0.5, 2.5), (30.0, 37.5), (120.0, 150.0), (3600.0, 3630.0)]
)
def test_what_was_asked_for_is_kept_to_and_devices_spread_behind_it(asked, wait):
    assert next_delay(3, initial=1.0, max_delay=60.0, chance=0.5, retry_after=asked) == wait
    if asked is not None:
        assert next_delay(3, initial=1.0, max_delay=60.0, chance=0.0, retry_after=asked) == asked
