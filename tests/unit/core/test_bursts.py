from __future__ import annotations

from collector.core.bursts import Burst, Bursts


def test_a_burst_is_told_when_it_begins_and_when_it_is_over():
    bursts = Bursts()
    assert bursts.look({}) == []
    assert bursts.look({"a": 3}) == [Burst("a", 3, over=False)]
    assert bursts.look({"a": 5}) == []
    assert bursts.look({"a": 9}) == []
    assert bursts.look({"a": 9}) == [Burst("a", 9, over=True)]
    assert bursts.look({"a": 9}) == []


def test_the_next_burst_is_counted_from_its_own_beginning():
    bursts = Bursts()
    bursts.look({"a": 3})
    bursts.look({"a": 3})
    assert bursts.look({"a": 4, "b": 1}) == [Burst("a", 1, over=False), Burst("b", 1, over=False)]
    assert bursts.look({"a": 6, "b": 1}) == [Burst("b", 1, over=True)]
    assert bursts.look({"a": 6, "b": 1}) == [Burst("a", 3, over=True)]
