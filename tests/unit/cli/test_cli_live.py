"""What is shown again and again: status --watch, top, drain, and progress."""

from __future__ import annotations

import json
import re
import sys

import click
import msgspec
import pytest
from fakes.statuses import make_lane, make_row, make_status

from collector.cli import admin_socket, drain, live, progress, status_source, top
from collector.cli.http_post import Reply
from collector.cli.rates import LaneRate, rates
from collector.errors import DaemonUnavailable
from collector.spool.views import IntakeRow

LANE = "samsara/samsara"


def made(*, accepted=0, pending=0, delivered=0, dead=0, reason="", healthy=True, requests=0):
    """A status with one lane, whose events were all accepted on one day."""
    return make_status(
        healthy=healthy,
        lanes=[
            make_lane(LANE, pending_events=pending, reason=reason, state="retrying" if reason else "healthy")
        ],
        ledger=[make_row(LANE, accepted=accepted, pending=pending, delivered=delivered, dead=dead)],
        received=[
            IntakeRow(dialect="samsara", product="", day="2026-11-17", requests=requests, events=accepted)
        ],
    )


@pytest.fixture
def nap(monkeypatch):
    """Time that passes at once; what was waited."""
    waited = []
    clock = [100.0]

    def sleep(seconds):
        waited.append(seconds)
        clock[0] += seconds

    for module in (live, drain, top):
        monkeypatch.setattr(module.time, "sleep", sleep)
        monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    return waited


@pytest.fixture
def told(monkeypatch):
    """What the daemon says, one status after the other; its last for ever."""
    script = []
    asked = []

    def next_status(*_):
        status = script[0] if len(script) == 1 else script.pop(0)
        if isinstance(status, Exception):
            raise status
        return status

    def ask(_config, path, *, body=None):
        asked.append((path, body))
        if path == "/v1/status":
            return Reply(200, msgspec.json.encode(next_status()))
        return Reply(404, b"")

    monkeypatch.setattr(status_source, "current_status", next_status)
    monkeypatch.setattr(admin_socket, "ask", ask)
    script.extend([])
    next_status.script, next_status.asked = script, asked
    return next_status


def test_a_watched_status_is_shown_again_after_each_interval(run, told, nap):
    told.script += [made(), made(pending=1), made(pending=2), made(pending=3, healthy=False)]
    outcome = run("status", "--watch", "--interval", "7", "-n", "3")
    assert outcome.out.count("waystation 0.1.0") == 3
    assert nap == [7.0, 7.0]
    assert outcome.code == 1


def test_a_watched_status_as_json_is_a_document_a_line(run, told, nap):
    told.script += [made(pending=5)]
    outcome = run("status", "--watch", "--json", "-n", "2")
    assert [json.loads(line)["lanes"][0]["pending_events"] for line in outcome.out.splitlines()] == [5, 5]
    assert outcome.code == 0


def test_a_daemon_that_goes_away_is_told_and_asked_again(run, told, nap):
    told.script += [made(), DaemonUnavailable("gone for now"), made(pending=9)]
    outcome = run("status", "--watch", "-n", "2")
    assert "gone for now\n" in outcome.out
    assert "waystation 0.1.0" in outcome.out
    assert outcome.code == 0


def test_on_a_terminal_it_is_drawn_in_place_and_what_it_showed_last_stays(monkeypatch, capsys, nap):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    frames = iter(["one", "two"])
    live.repeat(lambda: next(frames), interval=1, count=2)
    assert capsys.readouterr().out.endswith("two\n")


def test_rates_are_what_changed_a_second():
    before = made(accepted=100, pending=60, delivered=40, requests=10)
    after = made(accepted=120, pending=30, delivered=90, requests=14)
    found = rates(before, after, seconds=10)
    assert (found.requests, found.events) == (0.4, 2.0)
    assert found.lanes == (LaneRate(after.lanes[0], accepted=2.0, delivered=5.0, empty_in=10.0),)


def test_a_backlog_that_does_not_shrink_is_never_empty():
    before, after = made(accepted=10, pending=10), made(accepted=20, pending=20)
    assert rates(before, after, seconds=1).lanes[0].empty_in is None


def test_counts_that_went_back_are_no_rates():
    assert rates(made(accepted=10), made(accepted=3), seconds=1).lanes[0].accepted == 0


def test_top_shows_rates_since_the_last_look(run, told, nap):
    told.script += [
        made(accepted=100, pending=100),
        made(accepted=110, pending=60, delivered=50, requests=5),
        made(accepted=110, pending=20, delivered=90, requests=5),
    ]
    outcome = run("top", "--interval", "4", "-n", "2")
    first, second = re.findall(rf"^{LANE} .*$", outcome.out, re.MULTILINE)
    assert first.split() == [LANE, "healthy", "10.0", "50.0", "60", "2s"]
    assert second.split() == [LANE, "healthy", "0.0", "10.0", "20", "2s"]
    assert "5.0 requests/s, 10.0 events/s" in outcome.out


def test_top_needs_a_daemon(run):
    outcome = run("top", "-n", "1")
    assert outcome.code == 69
    assert "no daemon answers" in outcome.err


def test_drain_waits_until_what_waited_went_out(run, told, nap):
    told.script += [
        made(accepted=10, pending=10),
        made(accepted=15, pending=9, delivered=6),
        # Five of those that wait now came later.
        made(accepted=15, pending=5, delivered=10),
    ]
    outcome = run("drain", "--wait")
    assert (outcome.code, outcome.out) == (0, "all 10 events that waited have been delivered\n")


def test_drain_that_runs_out_of_time_says_what_holds_them_up(run, told, nap):
    told.script += [made(accepted=10, pending=10, reason="503: not now")]
    outcome = run("drain", "--wait", "--timeout", "60")
    assert outcome.code == 1
    assert outcome.out == f"10 of 10 events still wait\n  {LANE}: retrying: 503: not now\n"
    assert sum(nap) == pytest.approx(60)


def test_drain_says_when_events_ended_otherwise(run, told, nap):
    told.script += [
        made(accepted=10, pending=10, dead=2),
        made(accepted=10, delivered=7, dead=5),
    ]
    outcome = run("drain", "--wait")
    assert outcome.code == 1
    assert outcome.out.startswith("3 events ended undelivered meanwhile")


def test_drain_hurries_every_upstream_and_need_not_wait(run, told, nap, monkeypatch):
    from collector.admin.status import UpstreamView  # noqa: PLC0415

    status = msgspec.structs.replace(
        made(accepted=4, pending=4), upstreams=[UpstreamView(name="a b", waiting="")]
    )
    told.script += [status]
    outcome = run("drain")
    assert (outcome.code, nap) == (0, [])
    assert outcome.out == "4 events wait; --wait waits until they went out\n"
    assert ("/v1/upstreams/a%20b/flush", b"") in told.asked


def test_drain_with_nothing_waiting_is_done(run, told):
    told.script += [made(accepted=4, delivered=4)]
    assert run("drain", "--wait").out == "nothing waits\n"


def test_drain_needs_a_daemon(run):
    assert run("drain", "--wait").code == 69


def test_progress_is_shown_on_terminals_alone(monkeypatch, capsys):
    with progress.bar("verifying", 10) as advance:
        advance(4)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with progress.bar("verifying", 10) as advance:
        advance(10)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "verifying" in shown.err
    assert "10/10" in shown.err


def test_the_steps_of_a_salvage_are_shown_from_the_first_on(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.steps():
        pass
    assert capsys.readouterr().err == ""
    with progress.steps() as told:
        told("looking for damage", 0, 0)
        told("reading what can be read", 50, 200)
        click.echo("for whoever reads the output")
    captured = capsys.readouterr()
    assert captured.out == "for whoever reads the output\n"
    assert "looking for damage" in captured.err
    assert "25%" in captured.err


def test_what_is_printed_beside_a_bar_goes_where_it_was_sent_to(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.bar("exporting", 2) as advance:
        click.echo("a line")
        advance(1)
    assert capsys.readouterr().out == "a line\n"
