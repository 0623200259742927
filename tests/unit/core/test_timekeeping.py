from __future__ import annotations

from dataclasses import dataclass

import pytest

from collector.core.timekeeping import Kept, Reading, Timekeeper, Trust

A_DAY = 86_400_000
NOW = 1_800_000_000_000
TEN_YEARS = 3652 * A_DAY


@dataclass
class Machine:
    """A machine whose clocks go on when they are told to."""

    wall: int = NOW
    ticks: int = 5000
    synchronised: bool = False

    def read(self) -> Reading:
        return Reading(self.wall, self.ticks, self.synchronised)

    def run(self, ms: int) -> Reading:
        self.wall += ms
        self.ticks += ms
        return self.read()

    def set(self, wall: int) -> Reading:
        self.wall = wall
        return self.read()


def started(machine: Machine, kept: Kept | None = None, boot: str = "boot") -> Timekeeper:
    keeper = Timekeeper()
    keeper.take_up(kept or Kept(), boot, machine.read())
    return keeper


def test_a_start_in_1970_is_not_believed_until_the_clock_is_set():
    machine = Machine(wall=7000)
    keeper = started(machine)
    assert keeper.look(machine.run(A_DAY)).trust is Trust.UNKNOWN
    assert keeper.look(machine.set(NOW)).trust is Trust.PLAUSIBLE
    assert keeper.look(machine.run(A_DAY)).trust is Trust.PLAUSIBLE


def test_a_start_before_what_was_seen_is_not_believed_and_one_within_the_tolerance_is():
    kept = Kept(newest=NOW)
    machine = Machine(wall=NOW - A_DAY - 1)
    # It stays so while nobody sets it, however long.
    keeper = started(machine, kept)
    assert keeper.look(machine.run(10 * A_DAY)).trust is Trust.UNKNOWN
    machine = Machine(wall=NOW - A_DAY)
    assert started(machine, kept).look(machine.read()).trust is Trust.PLAUSIBLE


def test_a_clock_that_is_set_while_the_machine_runs_is_believed_in_both_directions():
    machine = Machine()
    keeper = started(machine)
    ahead = keeper.look(machine.set(NOW + TEN_YEARS))
    assert (ahead.trust, ahead.newest) == (Trust.PLAUSIBLE, NOW + TEN_YEARS)
    back = keeper.look(machine.set(NOW))
    # Else ten years would have to pass until it is believed again.
    assert (back.trust, back.newest) == (Trust.PLAUSIBLE, NOW)


def test_a_time_server_confirms_and_what_it_said_holds_until_the_clock_is_set():
    machine = Machine(synchronised=True)
    keeper = started(machine)
    assert keeper.look(machine.read()).trust is Trust.CONFIRMED
    machine.synchronised = False
    assert keeper.look(machine.run(9 * A_DAY)).trust is Trust.CONFIRMED
    assert keeper.look(machine.set(machine.wall + 1001)).trust is Trust.PLAUSIBLE


def test_slewing_is_no_setting():
    machine = Machine(synchronised=True)
    keeper = started(machine)
    machine.synchronised = False
    for _ in range(100):
        machine.set(machine.wall + 999)
        assert keeper.look(machine.run(1)).trust is Trust.CONFIRMED


def test_a_time_server_has_no_say_before_this_release():
    machine = Machine(wall=0, synchronised=True)
    assert started(machine).look(machine.read()).trust is Trust.UNKNOWN


def test_a_confirmed_clock_overrules_what_was_seen():
    machine = Machine(synchronised=True)
    moment = started(machine, Kept(newest=NOW + TEN_YEARS)).look(machine.read())
    assert (moment.trust, moment.newest) == (Trust.CONFIRMED, NOW)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_upstreams_date_confirms_within_a_minute(sign):
    machine = Machine()
    keeper = started(machine, Kept(newest=NOW + TEN_YEARS))
    assert keeper.heard(machine.read(), sign * 60_001).trust is Trust.UNKNOWN
    heard = keeper.heard(machine.read(), sign * 60_000)
    assert (heard.trust, heard.newest) == (Trust.CONFIRMED, NOW)
    assert keeper.look(machine.run(A_DAY)).trust is Trust.CONFIRMED


def test_a_date_of_1970_confirms_nothing():
    machine = Machine(wall=0)
    assert started(machine).heard(machine.read(), 0).trust is Trust.UNKNOWN


def test_age_goes_on_by_the_ticks_whatever_the_wall_clock_does():
    machine = Machine()
    keeper = started(machine, Kept(age=300))
    assert keeper.look(machine.read()).age == 300
    machine.run(50)
    for wall in (0, NOW + TEN_YEARS, NOW - TEN_YEARS, NOW):
        assert keeper.look(machine.set(wall)).age == 350


def test_a_daemon_that_was_stopped_makes_up_by_the_ticks_of_the_same_start():
    machine = Machine(ticks=9000, wall=0)
    kept = Kept(age=300, boot="boot", ticks=5000)
    assert started(machine, kept).look(machine.read()).age == 4300
    # Over another start they say nothing; nor where they went back.
    assert started(machine, kept, boot="other").look(machine.read()).age == 300
    assert started(Machine(ticks=4999), kept).look(Reading(0, 4999)).age == 300
    assert started(machine, Kept(age=300, ticks=5000), boot="").look(machine.read()).age == 300
