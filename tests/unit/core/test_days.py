from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.days import UNKNOWN_DAY, day_name, day_number, utc_day

A_DAY = 86_400_000


def test_a_day_ends_at_midnight_utc():
    midnight = 1_800_057_600_000  # 2027-01-16T00:00:00Z
    assert day_name(utc_day(midnight - 1, clock_good=True)) == "2027-01-15"
    assert day_name(utc_day(midnight, clock_good=True)) == "2027-01-16"


def test_a_clock_that_is_not_believed_knows_no_day():
    assert utc_day(1_800_057_600_000, clock_good=False) == UNKNOWN_DAY
    assert day_name(UNKNOWN_DAY) == "unknown"


@given(st.integers(A_DAY, 253_402_300_799_999))
def test_a_day_is_the_date_in_utc(ms):
    moment = dt.datetime.fromtimestamp(ms // 1000, tz=dt.UTC)
    assert day_name(utc_day(ms, clock_good=True)) == moment.date().isoformat()


@given(st.integers(0, 2_900_000))
def test_a_day_can_be_read_back_from_its_name(day):
    assert day_number(day_name(day)) == day


@pytest.mark.parametrize("name", ["", "today", "2026-02-30", "2026-1", "20261117x"])
def test_what_names_no_day_is_told(name):
    with pytest.raises(ValueError, match="expected a day such as"):
        day_number(name)
