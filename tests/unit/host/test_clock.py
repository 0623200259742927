from __future__ import annotations

import ctypes
import time

import pytest

from collector.core.timekeeping import Kept, Trust
from collector.host.clock import Clocks
from collector.host.synchronised import TimeServer

NOW = 1_800_000_000_000


class Server:
    def __init__(self, answer: bool = False) -> None:
        self.answer = answer

    def synchronised(self, *, wall: int) -> bool:
        return self.answer


class Kernel:
    """adjtimex(2) as it would answer."""

    def __init__(self, answer: int, status: int = 0, seconds: int = NOW // 1000) -> None:
        self.answer, self.status, self.seconds = answer, status, seconds

    def adjtimex(self, state) -> int:
        target = state._obj
        assert target.modes == 0, "it may only be asked"
        target.status, target.seconds = self.status, self.seconds
        return self.answer


def server(kernel, tmp_path, *, mark: bool = False) -> TimeServer:
    if mark:
        (tmp_path / "synchronized").touch()
    made = TimeServer(tmp_path / "synchronized")
    made._library = kernel
    return made


@pytest.mark.parametrize(
    ("kernel", "mark", "expected"),
    [
        (Kernel(0), False, True),
        (Kernel(0, status=0x2001), False, True),
        (Kernel(5, status=0x40), True, False),
        (Kernel(0, status=0x40), True, False),
        (Kernel(5), False, False),
        # A process that is shown another time than the kernel's.
        (Kernel(0, seconds=NOW // 1000 - 3), False, False),
        # Where a filter forbids the call, the time service's own mark is asked.
        (Kernel(-1), True, True),
        (Kernel(-1), False, False),
        (None, True, False),
    ],
)
def test_a_time_server_is_believed_when_the_kernel_says_so(tmp_path, kernel, mark, expected):
    assert server(kernel, tmp_path, mark=mark).synchronised(wall=NOW) is expected


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "adjtimex"), reason="this system has no adjtimex(2)")
def test_the_real_kernel_tells_its_time_where_it_is_asked():
    asked = TimeServer()

    class Spy:
        def adjtimex(self, state):
            self.answer = ctypes.CDLL(None).adjtimex(state)
            self.seconds = state._obj.seconds
            return self.answer

    asked._library = spy = Spy()
    now = time.time_ns() // 1_000_000
    asked.synchronised(wall=now)
    if spy.answer < 0:
        pytest.skip("adjtimex(2) is forbidden here")
    assert abs(spy.seconds - now // 1000) <= 1, "the structure is laid out as the kernel's"


def test_clocks_are_of_one_moment_and_go_on_from_what_was_kept():
    now = {"wall": NOW, "ticks": 700}
    clocks = Clocks(wall_ms=lambda: now["wall"], ticks_ms=lambda: now["ticks"], server=Server())
    clocks.take_up(Kept(age=40, boot="b", ticks=600), "b")
    assert (clocks.age_ms(), clocks.wall_ms(), clocks.moment().trust) == (140, NOW, Trust.PLAUSIBLE)
    now.update(wall=0, ticks=800)
    assert (clocks.age_ms(), clocks.moment().trust) == (240, Trust.UNKNOWN)


def test_an_upstreams_date_in_seconds_confirms_the_clock():
    clocks = Clocks(wall_ms=lambda: NOW, ticks_ms=lambda: 0, server=Server())
    clocks.heard(61.0)
    assert clocks.moment().trust is Trust.PLAUSIBLE
    clocks.heard(-1.5)
    assert clocks.moment().trust is Trust.CONFIRMED


def test_the_systems_own_clocks_go_on_together():
    clocks = Clocks(server=Server())
    first = clocks.moment()
    second = clocks.moment()
    assert 0 <= second.ticks - first.ticks < 5000
    assert abs(second.base - first.base) < 1000
