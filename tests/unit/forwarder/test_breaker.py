from __future__ import annotations

import math

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from collector.forwarder.breaker import LANES_AT_ONCE, LANES_AT_RETURN, Breaker


class Crowd:
    """Lanes that pass when they may, and note when."""

    def __init__(self, breaker, nursery):
        self.breaker = breaker
        self.nursery = nursery
        self.passed: list[tuple[float, bool]] = []
        self.inside = 0
        self.most_inside = 0

    def come(self, lanes, *, stay=0.0, then=lambda _probe: None):
        for _ in range(lanes):
            self.nursery.start_soon(self._lane, stay, then)

    async def _lane(self, stay, then):
        async with self.breaker.passage() as probe:
            self.passed.append((trio.current_time(), probe))
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            await trio.sleep(stay)
            then(probe)
            self.inside -= 1

    @property
    def times(self):
        return [time for time, _ in self.passed]


@pytest.fixture
async def crowd(nursery):
    return Crowd(Breaker(), nursery)


async def test_closed_it_lets_a_few_lanes_pass_at_once_and_the_others_after_them(autojump_clock, crowd):
    crowd.come(LANES_AT_ONCE * 3, stay=1)
    await trio.sleep(10)
    assert crowd.most_inside == LANES_AT_ONCE
    assert crowd.times == [0.0] * LANES_AT_ONCE + [1.0] * LANES_AT_ONCE + [2.0] * LANES_AT_ONCE


async def test_open_it_lets_one_lane_pass_as_a_probe_when_the_wait_is_over(autojump_clock, crowd):
    breaker = crowd.breaker
    breaker.open("timed out", wait=5, probe=False)
    crowd.come(20, stay=2, then=lambda probe: breaker.open("timed out", wait=5, probe=probe))
    await trio.sleep(20)
    # A probe takes 2 s, and the next is due 5 s after it failed.
    assert crowd.passed == [(5, True), (12, True), (19, True)]
    assert crowd.most_inside == 1


async def test_it_closes_at_the_first_success_and_more_lanes_pass_with_each_further_one(
    autojump_clock, crowd
):
    breaker = crowd.breaker
    breaker.open("timed out", wait=5, probe=False)
    assert breaker.is_open
    crowd.come(30, stay=1, then=lambda _probe: breaker.close())
    await trio.sleep(5.5)
    assert crowd.times == [5.0]
    await trio.sleep(1)
    assert crowd.times == [5.0] + [6.0] * LANES_AT_RETURN
    assert not breaker.is_open
    assert breaker.reason == ""
    await trio.sleep(10)
    assert [crowd.times.count(time) for time in (5, 6, 7, 8, 9, 10)] == [1, 2, 8, 8, 8, 3]


async def test_after_a_short_return_the_ramp_begins_anew(autojump_clock, crowd):
    breaker = crowd.breaker
    breaker.open("timed out", wait=1, probe=False)
    breaker.close()
    breaker.close()
    breaker.open("timed out", wait=1, probe=False)
    breaker.close()
    crowd.come(20, stay=1)
    await trio.sleep(0.5)
    assert len(crowd.passed) == LANES_AT_RETURN


async def test_answers_that_do_not_come_hold_nobody_up_for_ever(autojump_clock, crowd):
    """Lanes whose attempts say nothing of the upstream pass two at a time."""
    crowd.breaker.open("timed out", wait=1, probe=False)
    crowd.breaker.close()
    crowd.come(20, stay=1)
    await trio.sleep(20)
    assert [crowd.times.count(time) for time in range(10)] == [2] * 10


async def test_paused_it_lets_nobody_pass_and_what_is_under_way_ends(autojump_clock, crowd):
    crowd.come(1, stay=3)
    await trio.sleep(1)
    crowd.breaker.pause()
    crowd.come(3)
    await trio.sleep(100)
    assert (crowd.times, crowd.inside) == ([0], 0)
    crowd.breaker.resume()
    await trio.sleep(1)
    assert crowd.times == [0, 101, 101, 101]


async def test_resumed_it_is_probed_at_once(autojump_clock, crowd):
    crowd.breaker.open("timed out", wait=3600, probe=False)
    crowd.breaker.pause()
    crowd.come(2, stay=1, then=lambda _probe: crowd.breaker.close())
    await trio.sleep(10)
    crowd.breaker.resume()
    await trio.sleep(10)
    assert crowd.passed == [(10, True), (11, False)]


async def test_the_success_of_a_lane_that_was_under_way_closes_it_too(autojump_clock, crowd):
    breaker = crowd.breaker
    crowd.come(1, stay=3, then=lambda _probe: breaker.close())
    await trio.sleep(1)
    breaker.open("timed out", wait=60, probe=False)
    crowd.come(2)
    await trio.sleep(10)
    assert crowd.times == [0, 3, 3]


async def test_a_probe_that_proved_nothing_lets_the_next_one_try_at_once(autojump_clock, crowd):
    crowd.breaker.open("timed out", wait=5, probe=False)
    crowd.come(3, stay=1)
    await trio.sleep(10)
    assert crowd.passed == [(5, True), (6, True), (7, True)]
    assert crowd.most_inside == 1


async def test_a_probe_on_request_does_not_wait(autojump_clock, crowd):
    crowd.breaker.open("timed out", wait=3600, probe=False)
    crowd.come(3, stay=1, then=lambda probe: crowd.breaker.open("timed out", wait=3600, probe=probe))
    await trio.sleep(2)
    crowd.breaker.probe_now()
    await trio.sleep(10)
    assert crowd.passed == [(2, True)]


async def test_lanes_that_fail_after_it_opened_count_as_the_same_failure(autojump_clock):
    breaker = Breaker()
    assert breaker.failures(probe=False) == 1
    breaker.open("timed out", wait=1, probe=False)
    for _ in range(7):
        assert breaker.failures(probe=False) == 1
        breaker.open("timed out", wait=1, probe=False)
    assert breaker.failures(probe=True) == 2
    breaker.open("timed out", wait=1, probe=True)
    assert breaker.failures(probe=True) == 3
    breaker.close()
    assert breaker.failures(probe=False) == 1


@pytest.mark.parametrize("waits", [(10, 1, 30), (30, 1, 10)])
async def test_a_late_failure_can_lengthen_the_wait_and_not_shorten_it(autojump_clock, crowd, waits):
    breaker = crowd.breaker
    for wait in waits:
        breaker.open("http 503", wait=wait, probe=False)
    crowd.come(1)
    await trio.sleep(60)
    assert crowd.times == [30]


async def test_a_lane_that_is_cancelled_while_it_probes_makes_room_for_the_next(autojump_clock, crowd):
    crowd.breaker.open("timed out", wait=1, probe=False)

    async def doomed():
        async with crowd.breaker.passage():
            await trio.sleep(math.inf)

    async with trio.open_nursery() as lanes:
        lanes.start_soon(doomed)
        await trio.sleep(2)
        crowd.come(1)
        await trio.sleep(5)
        assert crowd.times == []
        lanes.cancel_scope.cancel()
    await wait_all_tasks_blocked()
    assert crowd.times == [7]


async def test_a_lane_that_is_cancelled_while_it_waits_holds_nobody_up(autojump_clock, crowd):
    crowd.breaker.open("timed out", wait=5, probe=False)
    with trio.move_on_after(2):
        async with crowd.breaker.passage():
            raise AssertionError
    crowd.come(1)
    await trio.sleep(10)
    assert crowd.times == [5]


async def test_those_who_wait_for_a_place_are_not_woken_by_probes(autojump_clock, crowd):
    """However many lanes a dead upstream has, a probe wakes a few of them only."""
    breaker = crowd.breaker
    breaker.open("timed out", wait=1, probe=False)
    crowd.come(500, then=lambda probe: breaker.open("timed out", wait=1, probe=probe))
    await wait_all_tasks_blocked()
    woken = []

    class Count(trio.abc.Instrument):
        def before_task_step(self, task):
            woken.append(task)

    count = Count()
    trio.lowlevel.add_instrument(count)
    await trio.sleep(10.5)
    trio.lowlevel.remove_instrument(count)
    assert len(crowd.passed) == 10
    assert len(woken) < 10 * 4 * LANES_AT_ONCE
