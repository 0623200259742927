"""The demo's table finds every fault that it is there to show the absence of."""

from __future__ import annotations

import pytest

from collector.demo.arrived import Arrived, Repeat, Taken
from collector.demo.payloads import Event
from collector.demo.report import Balance, Post, examine

STAMPS = ',"receivedAt":1792000000000,"publishedAt":1792000000001}'
LANES = {
    "samsara": "samsara/samsara",
    "traintracks": "traintracks/traintracks/a32e6578-17b7-11e4-930a-bc764e1c05e4",
}


def event(number, source="till", price="1.10"):
    text = f'{{"timestamp":1,"sourceId":"{source}","eventName":"a.b","seq":{number},"price":{price}}}'
    return Event(text.encode(), source, number)


def post(*events, begun, answered=True, dialect="samsara"):
    return Post(dialect, events, begun, begun + 1 if answered else None)


def stamped(event):
    return event.text.decode()[:-1] + STAMPS


def taken(*events, dialect="samsara", positions=None):
    texts = [each if isinstance(each, str) else stamped(each) for each in events]
    return Taken(lane=LANES[dialect], positions=positions or list(range(len(texts))), events=texts)


def report(posts, *lanes, repeats=(), ledger=None, problems=(), answers=None, troubles=None):
    delivered = {
        dialect: sum(len(lane.events) for lane in lanes if lane.lane == LANES[dialect]) for dialect in LANES
    }
    balances = {
        dialect: Balance(accepted=events, delivered=events) for dialect, events in delivered.items()
    } | (ledger or {})
    arrived = Arrived(
        taken=list(lanes), repeats=list(repeats), problems=list(problems), answers=answers or {}
    )
    return examine(posts, arrived, balances, troubles or {})


A, B, C, D = (event(number) for number in range(4))
POSTS = [post(A, B, begun=0), post(C, D, begun=2)]
WELL = taken(A, B, C, D)


def repeat(*, recognised=True, events=2, lane=LANES["samsara"]):
    return Repeat(key="k1", lane=lane, events=events, recognised=recognised)


def test_all_is_well_where_everything_arrived_in_order():
    found = report(POSTS, WELL)
    assert found.faults == []
    count = found.counts["samsara"]
    assert (count.acknowledged, count.arrived) == (4, 4)
    assert (count.lost, count.altered, count.out_of_order, count.unrecognised) == (0, 0, 0, 0)
    assert found.counts["traintracks"].acknowledged == 0


def test_dialects_are_counted_apart_and_together():
    tracks = [post(A, B, begun=4, dialect="traintracks")]
    found = report(POSTS + tracks, WELL, taken(A, B, dialect="traintracks"))
    assert found.faults == []
    assert found.counts["traintracks"].arrived == 2
    assert found.total.arrived == 6


def test_late_stamp_is_no_alteration():
    late = A.text.decode()[:-1] + ',"serverTimestamp":"2026-10-14T02:33:42.416000+00:00"}'
    found = report([post(A, begun=0, dialect="traintracks")], taken(late, dialect="traintracks"))
    assert found.faults == []


def test_acknowledged_event_that_never_arrived_is_lost():
    found = report(POSTS, taken(A, B, C))
    assert found.counts["samsara"].lost == 1
    assert found.counts["samsara"].arrived == 3
    assert "acknowledged and lost" in found.faults[0]


def test_whole_lane_that_never_came_is_lost():
    found = report(POSTS)
    assert found.counts["samsara"].lost == 4
    assert found.faults


@pytest.mark.parametrize(
    "changed",
    [
        event(1, price="1.1"),
        Event(B.text.replace(b'"sourceId"', b' "sourceId"'), "till", 1),
        Event(B.text.replace(b'"timestamp":1,', b"") + b"", "till", 1),
        Event(B.text[:-1] + b',"more":1}', "till", 1),
    ],
)
def test_event_of_which_a_byte_changed_is_altered_and_not_lost(changed):
    found = report(POSTS, taken(A, changed, C, D))
    count = found.counts["samsara"]
    assert (count.altered, count.lost, count.arrived, count.out_of_order) == (1, 0, 3, 0)
    assert any("altered" in fault for fault in found.faults)


def test_event_that_nobody_posted_counts_as_altered():
    found = report(POSTS, taken(A, B, C, D, event(9, source="nobody")))
    assert found.counts["samsara"].altered == 1
    assert found.faults


def test_what_is_no_event_counts_as_altered():
    found = report(POSTS, taken(A, B, C, D, "[" * 100_000))
    assert found.counts["samsara"].altered == 1


def test_event_of_the_other_dialect_counts_as_altered():
    found = report(POSTS, taken(A, B), taken(C, D, dialect="traintracks"))
    assert found.counts["samsara"].lost == 2
    assert found.counts["traintracks"].altered == 2


def test_position_behind_a_later_one_is_out_of_order():
    found = report(POSTS, taken(A, B, D, C, positions=[0, 1, 3, 2]))
    assert found.counts["samsara"].out_of_order == 1
    assert any("out of order: position 2 came after 3" in fault for fault in found.faults)


def test_sources_event_behind_its_later_one_is_out_of_order():
    found = report([post(A, B, begun=0)], taken(B, A))
    assert found.counts["samsara"].out_of_order == 1


def test_event_behind_one_that_was_posted_after_its_acknowledgement_is_out_of_order():
    other = event(0, source="door")
    posts = [post(A, begun=0), post(other, begun=2)]
    assert report(posts, taken(A, other)).faults == []
    found = report(posts, taken(other, A))
    assert found.counts["samsara"].out_of_order == 1


def test_events_that_were_posted_at_the_same_time_may_come_in_either_order():
    other = event(0, source="door")
    posts = [Post("samsara", (A,), 0, 3), Post("samsara", (other,), 1, 2)]
    assert report(posts, taken(A, other)).faults == []
    assert report(posts, taken(other, A)).faults == []


def test_gap_in_the_positions_is_a_fault():
    found = report(POSTS, taken(A, B, C, D, positions=[0, 1, 2, 4]))
    assert found.faults == ["samsara: 1 of the positions up to 4 never came"]


def test_recognised_repeat_is_counted_and_no_fault():
    found = report(POSTS, WELL, repeats=[repeat(), repeat(events=4)], answers={"lost": 2})
    assert found.faults == []
    assert (found.counts["samsara"].again, found.counts["samsara"].again_batches) == (6, 2)


def test_repeat_that_its_key_does_not_give_away_is_a_fault():
    found = report(POSTS, WELL, repeats=[repeat(recognised=False)])
    assert found.counts["samsara"].unrecognised == 2
    assert any("not recognised" in fault for fault in found.faults)


def test_event_at_two_positions_is_an_unrecognised_repeat():
    found = report(POSTS, taken(A, B, C, D, A))
    assert found.counts["samsara"].unrecognised == 1
    assert any("as if it were new" in fault for fault in found.faults)


def test_equal_events_that_were_posted_twice_may_arrive_twice():
    posts = [post(A, begun=0), post(Event(A.text, "till", 1), begun=2)]
    assert report(posts, taken(A, A)).faults == []
    assert report(posts, taken(A)).counts["samsara"].lost == 1


def test_unanswered_events_may_arrive_or_not():
    posts = [post(A, B, begun=0), post(C, D, begun=2, answered=False)]
    for lane, arrivals in ((WELL, 2), (taken(A, B), 0)):
        found = report(posts, lane)
        assert found.faults == []
        count = found.counts["samsara"]
        assert (count.unanswered, count.unanswered_arrived, count.acknowledged) == (2, arrivals, 2)


def test_lost_answer_after_which_nothing_came_again_is_a_fault():
    found = report(POSTS, WELL, answers={"lost": 1})
    assert found.faults == ["1 answers were lost, and 0 batches came again"]


def test_trouble_that_was_not_met_is_a_fault():
    troubles = {"500": 2, "lost": 1}
    met = report(POSTS, WELL, answers={"500": 3, "lost": 1}, repeats=[repeat()], troubles=troubles)
    assert met.faults == []
    found = report(POSTS, WELL, answers={"500": 1}, troubles=troubles)
    assert len(found.faults) == 2


def test_what_the_receiver_noted_is_a_fault():
    assert report(POSTS, WELL, problems=["answered 401: signature"]).faults == ["answered 401: signature"]


@pytest.mark.parametrize(
    "ledger",
    [
        Balance(accepted=4, delivered=3, pending=1),
        Balance(accepted=5, delivered=4, dead=1),
        Balance(accepted=5, delivered=4, gone=1),
        Balance(accepted=5, delivered=5),
        Balance(),
    ],
)
def test_ledger_that_says_something_else_is_a_fault(ledger):
    found = report(POSTS, WELL, ledger={"samsara": ledger})
    assert len(found.faults) == 1
    assert "ledger" in found.faults[0]


def test_lane_of_no_dialect_is_a_fault():
    stray = Taken(lane="stray", positions=[0], events=[stamped(A)])
    assert report(POSTS, WELL, stray).faults == ["stray: no such lane"]
