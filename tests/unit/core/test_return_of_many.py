"""Thousands of devices that lost one upstream at the same moment, and how they come back: a simulation."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable

import pytest

from collector.core.backoff import next_delay

DEVICES = 4000
INITIAL, LONGEST = 1.0, 60.0

Upstream = Callable[[float, int], float | str]
"""(time, requests so far in this second) to "taken", "down", or the seconds of a Retry-After."""


def chance(device: int, attempt: int) -> float:
    """As good as random, and the same in each run."""
    return int.from_bytes(hashlib.sha256(b"%d %d" % (device, attempt)).digest()[:6]) / 2**48


def simulate(upstream: Upstream, *, jitter: Callable[[int, int], float] = chance) -> list[float]:
    """When each request came; all devices try at second 0 first and stop at their first success."""
    due = [(0.0, device, 0) for device in range(DEVICES)]
    requests: list[float] = []
    busy: Counter[int] = Counter()
    while due:
        now, device, failures = heapq.heappop(due)
        requests.append(now)
        answer = upstream(now, busy[int(now)])
        busy[int(now)] += 1
        if answer == "taken":
            continue
        wait = next_delay(
            failures + 1,
            initial=INITIAL,
            max_delay=LONGEST,
            chance=jitter(device, failures),
            retry_after=None if answer == "down" else answer,
        )
        heapq.heappush(due, (now + wait, device, failures + 1))
    return requests


def most_in_a_second(times: list[float], *, since: float) -> int:
    """The most requests in any second from one on."""
    return max(Counter(int(time - since) for time in times if time >= since).values())


def evenly(seconds: float) -> float:
    """How many requests a second there are, if all devices spread over so many seconds."""
    return DEVICES / seconds


@pytest.mark.parametrize("back", [10.0, 600.0, 1800.0])
def test_after_an_outage_devices_come_back_spread_over_their_longest_wait(back):
    requests = simulate(lambda now, _: "taken" if now >= back else "down")
    # In the first seconds of an outage waits are short still, and so is the time to spread over.
    spread = min(LONGEST, back)
    assert most_in_a_second(requests, since=back) < 2.5 * evenly(spread)


def test_an_outage_is_probed_no_more_often_the_longer_it_lasts():
    requests = simulate(lambda now, _: "taken" if now >= 1200 else "down")
    # The mean wait is half of the longest.
    assert most_in_a_second([time for time in requests if time < 1200], since=300) < 1.5 * evenly(30)


def test_devices_that_were_told_the_same_moment_do_not_come_at_that_moment():
    """As a `Retry-After` with a date does, in front of a planned stop."""
    requests = simulate(lambda now, _: "taken" if now >= 1800 else 1800 - now)
    assert most_in_a_second(requests, since=1800) < 1.5 * evenly(LONGEST)
    assert max(requests) <= 1800 + LONGEST


def test_an_upstream_that_takes_so_many_a_second_takes_all_of_them_soon():
    room = 100
    requests = simulate(lambda _, busy: "taken" if busy < room else 10.0)
    assert max(requests) < 8 * DEVICES / room
    assert most_in_a_second(requests, since=60) < 3 * room


def test_without_jitter_they_would_strike_in_step():
    """What the bounds above are worth."""
    requests = simulate(
        lambda now, _: "taken" if now >= 600 else "down", jitter=lambda _device, _attempt: 0.99
    )
    assert most_in_a_second(requests, since=600) == DEVICES
