from __future__ import annotations

import pytest

from collector.errors import SpoolFull
from collector.spool.admission import EMPTY, SETTLING_RESERVE, Crowding, Limits
from collector.spool.retention import Backlog

MIB = 1 << 20


def holds(name: str, held: int, *, away: bool = False) -> Backlog:
    return Backlog(1, f"{name}/samsara", name, (name, ""), away, held)


@pytest.mark.parametrize(("quota", "room"), [(16 * MIB, 12 * MIB), (32 * MIB, 24 * MIB), (1024 * MIB, None)])
def test_settling_keeps_a_quarter_or_eight_mebibytes(quota, room):
    assert Limits(quota).room == (room or quota - SETTLING_RESERVE)


def test_what_fits_is_admitted_and_what_does_not_is_refused():
    limits = Limits(16 * MIB)
    limits.check(("a", ""), used=0, wanted=12 * MIB, crowding=EMPTY)
    with pytest.raises(SpoolFull) as refusal:
        limits.check(("a", ""), used=5, wanted=12 * MIB + 1, crowding=Crowding({}, "a/samsara"))
    assert (refusal.value.used, refusal.value.quota, refusal.value.lane) == (5, 16 * MIB, "a/samsara")


def test_while_there_is_room_nobody_is_crowded_out():
    limits = Limits(160 * MIB)
    backlogs = [holds("dead", 130 * MIB), holds("b", 0)]
    assert limits.crowding(backlogs, used=130 * MIB).streams == {}
    assert not limits.worth_counting(130 * MIB)


def test_in_the_last_tenth_those_over_their_share_are_refused():
    limits = Limits(160 * MIB)  # room for 152
    backlogs = [holds("dead", 120 * MIB), holds("b", 20 * MIB), holds("idle", 0)]
    assert limits.worth_counting(140 * MIB)
    crowding = limits.crowding(backlogs, used=140 * MIB)
    assert crowding == Crowding({("dead", ""): "dead/samsara"}, "dead/samsara")
    limits.check(("b", ""), used=140 * MIB, wanted=152 * MIB, crowding=crowding)
    with pytest.raises(SpoolFull, match="dead/samsara"):
        limits.check(("dead", ""), used=140 * MIB, wanted=140 * MIB, crowding=crowding)


def test_what_an_upstream_that_left_holds_is_nobody_elses_fault():
    limits = Limits(160 * MIB)
    backlogs = [holds("gone", 139 * MIB, away=True), holds("b", 1 * MIB)]
    assert limits.crowding(backlogs, used=140 * MIB) == Crowding({}, "gone/samsara")


def test_an_upstreams_own_bound_is_for_all_its_lanes_together():
    limits = Limits(160 * MIB, {"a": 10})
    lanes = [
        Backlog(1, "a/x", "a", ("x", ""), away=False, bytes=6),
        Backlog(2, "a/y", "a", ("y", ""), away=False, bytes=3),
        Backlog(3, "b/z", "b", ("z", ""), away=False, bytes=50),
    ]
    assert limits.worth_counting(0)
    assert limits.crowding(lanes, used=0).streams == {}
    lanes[1] = Backlog(2, "a/y", "a", ("y", ""), away=False, bytes=4)
    assert limits.crowding(lanes, used=0).streams == {("x", ""): "a/x", ("y", ""): "a/x"}
