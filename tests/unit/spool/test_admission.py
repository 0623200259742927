from __future__ import annotations

import pytest

from collector.errors import SpoolFull
from collector.spool.admission import EMPTY, SETTLING_RESERVE, Adds, Crowding, Gate, Limits
from collector.spool.retention import Backlog

MIB = 1 << 20
NOTHING = Adds(0)


def holds(name: str, held: int, *, away: bool = False) -> Backlog:
    return Backlog(1, f"{name}/samsara", name, (name, ""), away, held)


@pytest.mark.parametrize(("quota", "room"), [(16 * MIB, 12 * MIB), (32 * MIB, 24 * MIB), (1024 * MIB, None)])
def test_settling_keeps_a_quarter_or_eight_mebibytes(quota, room):
    assert Limits(quota).room == (room or quota - SETTLING_RESERVE)


def check(limits, stream="b", takers=("b",), *, used=0, adds=NOTHING, crowding=EMPTY):
    limits.check((stream, ""), takers, used=used, adds=adds, crowding=crowding)


def crowding(limits, backlogs, *, used):
    return Gate(limits, backlogs, used=used).crowding()


def test_what_fits_is_admitted_and_what_does_not_is_refused():
    limits = Limits(16 * MIB)
    check(limits, adds=Adds(12 * MIB))
    with pytest.raises(SpoolFull) as refusal:
        check(limits, used=5, adds=Adds(12 * MIB - 4), crowding=Crowding({}, "a/samsara"))
    assert (refusal.value.used, refusal.value.quota, refusal.value.lane) == (5, 16 * MIB, "a/samsara")


def test_what_a_commit_adds_to_the_log_must_fit_into_the_quota_too():
    limits = Limits(16 * MIB)
    check(limits, used=2 * MIB, adds=Adds(7 * MIB, 7 * MIB), crowding=Crowding({}, "a/samsara"))
    with pytest.raises(SpoolFull, match="a/samsara"):
        check(limits, used=2 * MIB, adds=Adds(7 * MIB, 7 * MIB + 1), crowding=Crowding({}, "a/samsara"))


def test_while_there_is_room_nobody_is_crowded_out():
    limits = Limits(160 * MIB)
    backlogs = [holds("dead", 130 * MIB), holds("b", 0)]
    assert crowding(limits, backlogs, used=130 * MIB).lanes == {}
    assert not limits.worth_counting(128 * MIB)


def test_in_the_last_tenth_those_over_their_share_are_refused():
    limits = Limits(160 * MIB)  # room for 152
    backlogs = [holds("dead", 120 * MIB), holds("b", 20 * MIB), holds("idle", 0)]
    assert limits.worth_counting(140 * MIB)
    found = crowding(limits, backlogs, used=140 * MIB)
    assert found == Crowding({("dead", ("dead", "")): "dead/samsara"}, "dead/samsara")
    check(limits, used=140 * MIB, adds=Adds(12 * MIB), crowding=found)
    with pytest.raises(SpoolFull, match="dead/samsara"):
        check(limits, "dead", ("dead",), used=140 * MIB, crowding=found)


def test_the_room_is_shared_among_lanes_that_hold_data_and_one_that_may_come():
    limits = Limits(160 * MIB)  # room for 152
    shares = [
        [holds("a", 140 * MIB)],
        [holds("a", 140 * MIB), holds("b", 0)],
        [holds("a", 140 * MIB), holds("b", 1), holds("c", 0), holds("d", 0)],
        [holds("a", 140 * MIB), holds("b", 1)],
    ]
    assert [Gate(limits, lanes, used=0).share / MIB for lanes in shares] == [
        152,
        76,
        pytest.approx(152 / 3),
        76,
    ]


def test_what_an_upstream_that_left_holds_is_nobody_elses_fault():
    limits = Limits(160 * MIB)
    backlogs = [holds("gone", 139 * MIB, away=True), holds("b", 1 * MIB)]
    assert crowding(limits, backlogs, used=140 * MIB) == Crowding({}, "gone/samsara")


def test_an_upstreams_own_bound_is_for_all_its_lanes_together():
    limits = Limits(160 * MIB, {"a": 10})
    lanes = [
        Backlog(1, "a/x", "a", ("x", ""), away=False, bytes=6),
        Backlog(2, "a/y", "a", ("y", ""), away=False, bytes=3),
        Backlog(3, "b/z", "b", ("z", ""), away=False, bytes=50),
    ]
    assert limits.worth_counting(0)
    assert crowding(limits, lanes, used=0).lanes == {}
    lanes[1] = Backlog(2, "a/y", "a", ("y", ""), away=False, bytes=4)
    assert crowding(limits, lanes, used=0).lanes == {("a", ("x", "")): "a/x", ("a", ("y", "")): "a/y"}


def test_a_stream_is_refused_only_where_none_of_its_takers_is_admitted():
    shared = ("samsara", "")
    found = Crowding({("dead", shared): "dead/samsara"}, "dead/samsara")
    assert found.refuses(shared, ("dead", "well")) is None
    assert found.refuses(shared, ("dead",)) == "dead/samsara"
    assert found.refuses(("other", ""), ("dead",)) is None


def test_within_a_commit_a_bound_is_kept_chunk_by_chunk():
    shared = ("samsara", "")
    lanes = [Backlog(1, "dead/samsara", "dead", shared, away=False, bytes=6)]
    gate = Gate(Limits(160 * MIB, {"dead": 10}), lanes, used=0)
    over = [gate.admit(shared, ("dead", "well"), 2) for _ in range(3)]
    assert over == [frozenset(), frozenset(), {"dead"}]
    with pytest.raises(SpoolFull, match="lane dead/samsara holds too much"):
        gate.admit(shared, ("dead",), 1)


def test_what_is_larger_than_a_bound_is_taken_when_nothing_else_is_there():
    gate = Gate(Limits(160 * MIB, {"a": 10}), [], used=0)
    assert gate.admit(("samsara", ""), ("a",), 50) == frozenset()
    with pytest.raises(SpoolFull, match="lane a/samsara holds too much"):
        gate.admit(("samsara", ""), ("a",), 1)
