"""What the status page says, by what the spool and the forwarder say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.statuses import make_lane, make_row

from collector.admin.advice import advice
from collector.admin.view import Moment, View, make_view
from collector.core.failure import Failure
from collector.core.policy import DEFAULT
from collector.core.reply import Reply
from collector.core.verdict import judge, judge_failure
from collector.spool.glance import Glance
from collector.spool.overview import DIALECT_LEFT, PRODUCT_LEFT, UPSTREAM_LEFT
from collector.spool.views import SalvageRow

if TYPE_CHECKING:
    from collector.spool.views import LaneView

NOON = 1_785_326_400_000  # 2026-07-29T12:00:00Z
HOUR = 3_600_000
MOMENT = Moment(
    now_ms=NOON,
    waiting={"samsara": "", "file": ""},
    trouble="",
    used_bytes=2**20,
    max_bytes=2**30,
    uptime=60.0,
    version="0.1.0",
    device="kiosk-17",
)


def lane(name: str = "samsara/samsara", **given) -> LaneView:
    values = {"pending_events": 0, "oldest_received_at": None, "dead_letters": 0, "since": NOON - HOUR}
    return make_lane(name, **{**values, **given})


def ill(name: str = "samsara/samsara", **given) -> LaneView:
    values = {"state": "retrying", "reason": "cannot connect", "pending_events": 5}
    return lane(name, **{**values, "oldest_received_at": NOON - 2 * HOUR, **given})


def downs(count: int) -> tuple[LaneView, ...]:
    return tuple(ill(f"{name}/samsara") for name in "abcdefghi"[:count])


def view(*lanes, days=(), letters=0, **moment) -> View:
    found = Glance(lanes=lanes, days=days, day=(), letters=(), kept_letters=letters)
    return make_view(found, replace(MOMENT, **moment))


def links(shown) -> dict[str, str]:
    return {link.upstream: link.state for link in shown.links}


def test_a_healthy_upstream_is_up_since_its_last_lane_delivers():
    shown = view(lane(), lane("samsara/traintracks/x", since=NOON - 60_000), lane("file/samsara"))
    assert (shown.good, shown.headline) == (True, "Everything has gone out")
    up = shown.links[0]
    assert (up.state, up.since.at, up.since.ago) == ("up", "11:59:00 UTC", "1m")


def test_one_that_takes_nothing_is_down_since_the_first_lane_failed():
    shown = view(ill(since=NOON - 60_000), ill("samsara/traintracks/x"), lane("file/samsara"))
    assert (shown.good, shown.headline) == (False, "samsara does not take events")
    assert links(shown) == {"samsara": "down", "file": "up"}
    assert shown.links[0].since.at == "11:00:00 UTC"
    assert (shown.waiting, shown.oldest.ago) == (10, "2h")


def test_an_upstream_that_has_refused_every_event_is_not_called_unused():
    shown = view(lane(state="new", dead_letters=3), letters=3)
    assert (shown.links[0].state, shown.links[0].since) == ("up", None)
    assert shown.links[0].reason == "it answers, and has taken no event so far"


def test_a_lane_behind_the_probe_of_another_waits_and_says_why():
    shown = view(ill(state="healthy", reason=""), waiting={"samsara": "timed out"})
    (card,) = shown.lanes
    assert (card.state, card.reason, card.fine) == ("waiting", "timed out", False)
    assert card.advice.startswith("Check this device's network")


def test_a_lane_that_looks_for_what_is_refused_delivers_and_says_why():
    shown = view(ill(state="narrowing", reason="http 413 Content Too Large; smaller batches are tried"))
    assert (shown.good, shown.headline) == (True, "Events are going out")
    assert shown.lanes[0].reason.startswith("http 413")
    assert shown.lanes[0].advice.startswith("Nothing to do: smaller batches find out")
    assert links(shown)["samsara"] == "up"


def test_an_old_failure_of_a_lane_that_has_nothing_to_send_is_no_trouble():
    shown = view(ill(pending_events=0, oldest_received_at=None))
    assert shown.good
    assert shown.lanes[0].advice == ""


def test_an_orphaned_lane_that_holds_events_does_not_deliver():
    shown = view(ill("gone/samsara", state="orphaned", reason=""))
    assert (shown.good, shown.headline) == (False, "1 lane does not deliver")
    assert links(shown) == {"samsara": "idle", "file": "idle"}


@pytest.mark.parametrize(
    ("lanes", "given", "headline"),
    [
        ((), {}, "Ready: no events have come yet"),
        ((lane(pending_events=3),), {}, "Events are going out"),
        ((lane(),), {"letters": 1}, "Nothing waits; 1 event was refused"),
        ((ill(),), {"trouble": "The disk is full."}, "Nothing is accepted"),
        (downs(2), {"waiting": dict.fromkeys("ab", "")}, "a and b do not take events"),
        (downs(4), {"waiting": dict.fromkeys("abcd", "")}, "a, b, c and d do not take events"),
        (downs(9), {"waiting": dict.fromkeys("abcdefghi", "")}, "a, b, c and 6 more do not take events"),
    ],
)
def test_the_headline_says_what_matters_most(lanes, given, headline):
    assert view(*lanes, **given).headline == headline


def test_a_refused_reload_is_told():
    shown = view(lane(), reload_refused="config.toml: 3: no such key", labels={"site": "north"})
    assert shown.notes == ["The last reload was refused, nothing was changed: config.toml: 3: no such key"]
    assert shown.device == "kiosk-17 · site north"


def test_a_salvage_is_told():
    salvage = SalvageRow(
        at=NOON,
        reason="a page is torn",
        set_aside="spool.db.corrupt-1",
        epoch="",
        chunks=1,
        events=1,
        damaged=0,
        notes="",
    )
    (note,) = make_view(Glance((lane(),), (), (), (), 0, salvage), MOMENT).notes
    assert note.startswith("The spool was damaged (a page is torn) and salvaged 12:00:00 UTC")
    assert "kept as spool.db.corrupt-1" in note


def test_the_lanes_that_do_not_deliver_come_first():
    shown = view(lane("a/samsara"), ill("b/samsara"))
    assert [card.name for card in shown.lanes] == ["b/samsara", "a/samsara"]


def test_more_lanes_than_fit_are_counted():
    shown = view(*(lane(f"up{number}/samsara") for number in range(120)), ill("last/samsara"))
    assert (len(shown.lanes), shown.more_lanes) == (100, 21)
    assert shown.lanes[0].name == "last/samsara"


def test_the_chart_has_a_bar_for_each_of_seven_days():
    days = [
        make_row("", day="2026-07-29", accepted=50, delivered=20, pending=30),
        make_row("", day="2026-07-25", accepted=200, delivered=200, pending=0),
        make_row("", day="2026-07-01", accepted=9000, delivered=9000, pending=0),
    ]
    shown = view(lane(), days=days)
    assert [bar.label for bar in shown.chart][::6] == ["07-23", "07-29"]
    heights = {bar.label: (bar.delivered_height, bar.rest_height) for bar in shown.chart}
    assert heights["07-25"] == (100, 0)
    assert heights["07-29"] == (10, 15)
    assert (shown.today.accepted, shown.today.delivered) == (50, 20)


def test_what_an_upstream_says_cannot_steer_how_it_is_shown():
    (card,) = view(ill(reason="http 500\u202e\x1b[31m\nmore")).lanes
    assert card.reason == "http 500  [31m more"


def said(status: int, body: bytes = b"", content_type: str = "") -> str:
    reply = Reply(status, content_type, body)
    return judge(reply, policy=DEFAULT["samsara"], events=1, now_ms=0).reason


@pytest.mark.parametrize(
    ("state", "reason", "begins"),
    [
        ("blocked", said(401), "Check this upstream's key"),
        ("blocked", said(403, b"no"), "Check this upstream's key"),
        ("blocked", said(404), "Check the url"),
        ("blocked", said(302), "Check the url"),
        ("blocked", said(200, b"<html>", "text/html"), "Sign in to the network"),
        ("blocked", said(511), "Sign in to the network"),
        ("blocked", said(418), "Put right what the reason says"),
        ("retrying", said(503), "Nothing to do here: the upstream"),
        ("retrying", said(429), "Nothing to do here: the upstream"),
        ("blocked", judge_failure(Failure.TLS, "expired").reason, "Check this device's clock"),
        ("retrying", judge_failure(Failure.CONNECT, "").reason, "Check this device's network"),
        ("retrying", judge_failure(Failure.TIMEOUT, "").reason, "Check this device's network"),
        ("retrying", judge_failure(Failure.PROXY, "").reason, "Check the proxy"),
        ("retrying", judge_failure(Failure.BROKEN, "").reason, "Nothing to do yet"),
        ("orphaned", "", "Its upstream is not in the configuration"),
        ("orphaned", UPSTREAM_LEFT, "Its upstream is not in the configuration"),
        ("orphaned", PRODUCT_LEFT, "Its product is not in the configuration"),
        ("orphaned", DIALECT_LEFT, "Its upstream takes its dialect no longer"),
        ("narrowing", said(413), "Nothing to do"),
        ("a state to come", "", ""),
    ],
)
def test_each_reason_gets_its_advice(state, reason, begins):
    given = advice(state, reason, "main")
    assert given.startswith(begins)
    assert (given == "") == (begins == "")


@pytest.mark.parametrize("pending", [0, 5])
def test_a_lane_that_is_paused_is_told_how_to_go_on(pending):
    shown = view(ill(state="paused", reason="paused", pending_events=pending))
    assert shown.lanes[0].advice.endswith("`waystation upstream resume samsara`.")


def test_advice_names_the_upstream_in_its_commands():
    shown = view(ill(state="blocked", reason=said(401)))
    assert "`waystation upstream test samsara`" in shown.lanes[0].advice
