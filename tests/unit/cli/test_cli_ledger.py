from __future__ import annotations

import datetime as dt
import json

import pytest
from fakes.statuses import make_lane, make_row, make_status

from collector.cli import status_source
from collector.cli.ledger import read_day
from collector.errors import UsageError
from collector.spool.views import IntakeRow

ALL = {"accepted": 40, "delivered": 40, "pending": 0}
SOME = {"accepted": 50, "delivered": 20, "pending": 18, "dead": 3, "expired": 9}


@pytest.fixture
def told(run, monkeypatch):
    """Runs `waystation ledger` on a status with these rows."""
    rows = [
        make_row("samsara/samsara", day="2026-11-16", **ALL),
        make_row("samsara/samsara", day="2026-11-17", **ALL),
        make_row("tt/traintracks/p", day="2026-11-17", **SOME),
    ]
    lanes = [make_lane("samsara/samsara"), make_lane("tt/traintracks/p")]
    received = [
        IntakeRow(dialect="samsara", product="", day="2026-11-16", requests=1, events=40),
        IntakeRow(dialect="samsara", product="", day="2026-11-17", requests=1, events=40),
        IntakeRow(dialect="traintracks", product="p", day="2026-11-17", requests=1, events=50),
    ]
    status = make_status(lanes=lanes, ledger=rows, received=received)
    monkeypatch.setattr(status_source, "current_status", lambda _: status)
    return lambda *arguments: run("ledger", *arguments)


def test_a_day_on_which_all_went_out_is_0(told):
    outcome = told("--day", "2026-11-16")
    assert outcome.code == 0
    assert "All 40 events that were accepted on 2026-11-16 (UTC) have been delivered." in outcome.out
    assert "2026-11-17" not in outcome.out


def test_a_day_on_which_some_did_not_is_1_and_says_what_became_of_them(told):
    outcome = told("--day", "2026-11-17")
    assert outcome.code == 1
    assert "tt/traintracks/p" in outcome.out
    assert outcome.out.endswith(
        "Of 90 events that were accepted on 2026-11-17 (UTC), 60 have been delivered; 18 wait,"
        " 3 were refused upstream (waystation dead-letters list),"
        " 9 ended undelivered (expired, evicted or damaged).\n"
    )


def test_one_lane_can_be_asked_for(told):
    assert told("--day", "2026-11-17", "--lane", "samsara/samsara").code == 0
    outcome = told("--lane", "nobody/samsara")
    assert outcome.code == 64
    assert "there is no lane nobody/samsara" in outcome.err


def test_a_day_without_events_says_so(told):
    outcome = told("--day", "2026-11-01")
    assert (outcome.code, outcome.out) == (0, "No events were accepted on 2026-11-01 (UTC).\n")


def test_all_days_are_shown_unless_one_is_named(told):
    outcome = told()
    assert outcome.code == 1
    assert "Of 130 events that were accepted, 100 have been delivered" in outcome.out


def test_events_that_two_lanes_share_are_also_counted_once(run, monkeypatch):
    day = "2026-11-16"
    rows = [make_row(f"{name}/samsara", day=day, **ALL) for name in ("archive", "samsara")]
    lanes = [make_lane(row.lane) for row in rows]
    received = [IntakeRow(dialect="samsara", product="", day=day, requests=1, events=40)]
    status = make_status(lanes=lanes, ledger=rows, received=received)
    monkeypatch.setattr(status_source, "current_status", lambda _: status)
    assert run("ledger", "--day", day).out.endswith(
        "All 80 events that were accepted on 2026-11-16 (UTC) have been delivered."
        " Apps handed over 40 events; each counts once in every lane that takes it.\n"
    )
    assert "Apps" not in run("ledger", "--lane", "archive/samsara").out
    assert json.loads(run("ledger", "--json").out)["received"] == 40


def test_as_json_it_is_one_document(told):
    outcome = told("--day", "2026-11-17", "--json")
    document = json.loads(outcome.out)
    assert outcome.code == 1
    assert (document["day"], document["complete"]) == ("2026-11-17", False)
    assert document["total"]["accepted"] == 90
    assert [row["lane"] for row in document["lanes"]] == ["samsara/samsara", "tt/traintracks/p"]


def test_days_may_be_named():
    today = dt.date(2026, 3, 1)
    assert read_day("today", today) == "2026-03-01"
    assert read_day("yesterday", today) == "2026-02-28"
    assert read_day("unknown", today) == "unknown"


@pytest.mark.parametrize("text", ["", "tuesday", "2026-02-30", "17.11.2026", "2026-11-17T00:00"])
def test_what_is_no_day_is_refused(text):
    with pytest.raises(UsageError, match="expected 2026-11-17"):
        read_day(text, dt.date(2026, 3, 1))
