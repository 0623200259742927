"""An allowance is each holder's own, comes back with time, and never takes memory without bound."""

from __future__ import annotations

from collector.core.allowance import MAX_HOLDERS, Allowances


def test_it_may_be_used_at_once_and_comes_back_over_its_period():
    allowances = Allowances(100, 10)
    assert allowances.take(1, 60, now=0) == 0
    assert allowances.take(1, 40, now=0) == 0
    assert allowances.take(1, 10, now=0) == 1
    assert allowances.take(2, 100, now=0) == 0
    assert allowances.take(1, 10, now=1) == 0
    assert allowances.take(1, 100, now=5) == 6


def test_what_is_larger_than_all_of_it_goes_once_it_is_whole_and_is_paid_back():
    allowances = Allowances(100, 10)
    assert allowances.take(1, 250, now=0) == 0
    assert allowances.take(1, 250, now=10) == 15
    assert allowances.take(1, 100, now=24) == 1
    assert allowances.take(1, 100, now=25) == 0


def test_what_is_remembered_is_bounded_and_who_has_used_all_is_remembered_longest():
    allowances = Allowances(100, 1000)
    assert allowances.take(-1, 100, now=9) == 0
    for holder in range(3 * MAX_HOLDERS):
        assert allowances.take(holder, 1, now=10 + holder // 100 * 11) == 0
    assert len(allowances._used) <= MAX_HOLDERS
