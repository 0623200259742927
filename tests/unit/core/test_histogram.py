from __future__ import annotations

from math import inf

from collector.core.histogram import Histogram


def test_a_value_counts_for_every_bound_that_is_not_below_it():
    histogram = Histogram((1, 10))
    for value in (0, 1, 1.5, 10, 11):
        histogram.observe(value)
    assert list(histogram.cumulative()) == [(1, 2), (10, 4), (inf, 5)]
    assert histogram.count == 5
    assert histogram.total == 23.5


def test_a_value_may_occur_often():
    histogram = Histogram((1,))
    histogram.observe(0.5, times=4)
    assert histogram.count == 4
    assert histogram.total == 2


def test_a_copy_counts_no_further():
    histogram = Histogram((1,))
    histogram.observe(1)
    copy = histogram.copy()
    histogram.observe(1)
    assert copy.count == 1
