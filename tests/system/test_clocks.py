"""The real process on machines whose clocks are wrong, and on a cloned one."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from contextlib import closing
from email.utils import formatdate

import pytest
from fakes.daemon import LISTENERS, Client, Daemon, total, unbalanced, until
from fakes.delivery import arrivals
from fakes.machines import BOOT_ID, MACHINE_ID, Machine
from fakes.upstream import Behaviour, Upstream

pytestmark = pytest.mark.system

A_DAY = 86_400
TEN_YEARS = 3652 * A_DAY
SAYS_LATER = Behaviour(status=503)
RARELY = {"Retry-After": "3"}
"""A batch in flight does not expire; with this it mostly is not."""


def config(upstream):
    return f"""
{LISTENERS}
[spool]
max_age = "30d"

[[upstream]]
name = "samsara"
kind = "samsara"
url = "{upstream.url}"
signing = "none"
backoff = {{ initial = "20ms", max = "100ms" }}
"""


@pytest.fixture
def upstream():
    with Upstream() as fake:
        yield fake


@pytest.fixture
def machine(tmp_path, waystation):
    return Machine(tmp_path, waystation)


def start(daemon: Daemon, machine: Machine) -> None:
    daemon.environ = machine.environ
    daemon.start()


def post(daemon, *numbers):
    events = [{"timestamp": 1, "sourceId": "till", "eventName": "sold", "n": n} for n in numbers]
    with Client(daemon.socket) as client:
        reply = client.ask(
            "POST", "/v1/events", json.dumps(events).encode(), {"Content-Type": "application/json"}
        )
        assert reply.status == 202


def events_of(request):
    return [json.loads(event) for event in request.events]


def attempts_from(upstream, position, count=1):
    """Wait until the batch that begins with a position was attempted so often; those attempts."""

    def found():
        requests = [request for request in upstream.received if f"first={position}," in batch_of(request)]
        return requests if len(requests) >= count else None

    return until(found, f"{count} attempts from position {position}")


def batch_of(request):
    return request.header("Waystation-Batch")


def arrived(upstream):
    """What was taken: `n` and `receivedAt` (seconds) of each event, in order of arrival."""
    events = [json.loads(text) for lane in arrivals(upstream).values() for text in lane.values()]
    return [(event["n"], event["receivedAt"] / 1000) for event in events]


def now():
    return dt.datetime.now(dt.UTC).timestamp()


def today():
    return dt.datetime.now(dt.UTC).date().isoformat()


def days_of(status):
    return {row["day"]: row["accepted"] for row in status["ledger"]}


def test_a_machine_that_starts_in_1970_sends_right_stamps_once_its_clock_is_right(
    make_daemon, machine, upstream
):
    machine.set_clock(600 - now())
    upstream.default = SAYS_LATER
    daemon = make_daemon(config(upstream), command=machine.command)
    start(daemon, machine)
    post(daemon, 0)
    first = attempts_from(upstream, 0)[0]
    assert 0 < events_of(first)[0]["receivedAt"] < 3_600_000
    post(daemon, 1)
    post(daemon, 2)
    machine.set_clock(0)
    # Its next attempt is answered with a Date that agrees.
    attempts_from(upstream, 0, count=len(upstream.received) + 2)
    upstream.default = Behaviour()
    post(daemon, 3)
    status = daemon.forwarded()
    numbers, stamps = zip(*arrived(upstream), strict=True)
    assert numbers == (0, 1, 2, 3)
    assert stamps[0] < 3600, "what was sealed stays as it was"
    assert all(abs(stamp - now()) < 300 for stamp in stamps[1:])
    assert list(stamps[1:]) == sorted(stamps[1:])
    assert len({request.header("Idempotency-Key") for request in attempts_from(upstream, 0)}) == 1
    assert len({json.dumps(events_of(request)) for request in attempts_from(upstream, 0)}) == 1
    assert days_of(status) == {"unknown": 3, today(): 1}
    assert unbalanced(status) == []
    assert daemon.stop() == 0


def test_ten_years_ahead_and_back_reorder_stall_and_end_nothing(make_daemon, machine, upstream):
    machine.set_clock(0)
    upstream.default = SAYS_LATER
    daemon = make_daemon(config(upstream), command=machine.command)
    start(daemon, machine)
    number = 0
    for seconds in (0, TEN_YEARS, 0, -TEN_YEARS, 0):
        machine.set_clock(seconds)
        post(daemon, number, number + 1)
        # The lane goes on with its attempts meanwhile.
        attempts_from(upstream, 0, count=len(upstream.received) + 2)
        if seconds == TEN_YEARS:
            assert daemon.stop() == 0
            start(daemon, machine)
        number += 2
    upstream.default = Behaviour()
    status = daemon.forwarded(within=15)
    assert [n for n, _ in arrived(upstream)] == list(range(number))
    assert (total(status, "accepted"), total(status, "delivered")) == (number, number)
    assert unbalanced(status) == []
    assert daemon.stop() == 0


def test_events_age_by_the_time_that_the_machine_runs_and_by_no_wall_clock(make_daemon, machine, upstream):
    upstream.default = Behaviour(status=503, headers=RARELY)
    daemon = make_daemon(config(upstream), command=machine.command)
    start(daemon, machine)
    post(daemon, 0)
    assert daemon.stop() == 0
    # The machine runs on for a month, most of it without the daemon.
    machine.run_for(31 * A_DAY)
    machine.set_clock(TEN_YEARS)
    start(daemon, machine)
    post(daemon, 1)
    machine.set_clock(2 * TEN_YEARS)
    status = until(
        lambda: total(daemon.status(), "expired") and daemon.status(), "the first event expires", within=120
    )
    assert (total(status, "expired"), total(status, "pending")) == (1, 1)
    upstream.default = Behaviour()
    daemon.forwarded()
    assert [n for n, _ in arrived(upstream)] == [1]
    assert daemon.stop() == 0


def test_weeks_switched_off_count_where_an_upstreams_date_confirms_both_ends(make_daemon, machine, upstream):
    machine.name(BOOT_ID, "00000000-0000-4000-8000-000000000001")
    machine.set_clock(0)
    upstream.default = Behaviour(status=503, headers=RARELY)
    daemon = make_daemon(config(upstream), command=machine.command)
    start(daemon, machine)
    post(daemon, 0)
    attempts_from(upstream, 0)
    assert daemon.stop() == 0
    machine.name(BOOT_ID, "00000000-0000-4000-8000-000000000002")
    machine.set_clock(31 * A_DAY)
    upstream.default = Behaviour(
        status=503, headers={**RARELY, "Date": formatdate(now() + 31 * A_DAY, usegmt=True)}
    )
    start(daemon, machine)
    post(daemon, 1)
    status = until(
        lambda: total(daemon.status(), "expired") and daemon.status(), "the first event expires", within=120
    )
    assert (total(status, "expired"), total(status, "pending")) == (1, 1)
    assert daemon.stop() == 0


def test_a_cloned_image_gets_a_new_device_and_epoch_and_seals_anew(make_daemon, machine, upstream):
    machine.name(MACHINE_ID, "a" * 32)
    daemon = make_daemon(config(upstream), command=machine.command)
    start(daemon, machine)
    post(daemon, 0, 1)
    daemon.forwarded()
    upstream.default = SAYS_LATER
    post(daemon, 2, 3)
    sealed = attempts_from(upstream, 2)[0]
    before = daemon.status()
    assert daemon.stop() == 0
    start(daemon, machine)
    same = daemon.status()
    assert (same["device"], same["epoch"]) == (before["device"], before["epoch"])
    assert daemon.stop() == 0

    machine.name(MACHINE_ID, "b" * 32)
    upstream.default = Behaviour()
    start(daemon, machine)
    post(daemon, 4)
    after = daemon.forwarded()
    assert after["device"] != before["device"]
    assert after["epoch"] != before["epoch"]
    assert [n for n, _ in arrived(upstream)] == [0, 1, 2, 3, 4]
    taken = [request for request in upstream.received if after["epoch"] in batch_of(request)]
    for request in taken:
        assert request.header("Waystation-Device") == f'"{after["device"]}"'
    assert "first=2," in batch_of(taken[0])
    assert taken[0].header("Idempotency-Key") != sealed.header("Idempotency-Key")
    assert unbalanced(after) == []
    assert daemon.stop() == 0


def test_a_spool_of_a_later_release_is_refused_in_one_clear_line(make_daemon, upstream):
    daemon = make_daemon(config(upstream))
    daemon.start()
    post(daemon, 0)
    assert daemon.stop() == 0
    with closing(sqlite3.connect(daemon.state_dir / "spool.db")) as spool, spool:
        spool.execute("INSERT INTO _sqlite_migrations VALUES (NULL, 'spool', '0099_later', '')")
    refused = daemon.run("run")
    assert refused.returncode == 74
    assert b"was written by a later release (it has the changes 0099_later)" in refused.stderr
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith(b"waystation:")]
    assert b"install that release, or give another state_dir" in line
    with closing(sqlite3.connect(daemon.state_dir / "spool.db")) as spool, spool:
        spool.execute("DELETE FROM _sqlite_migrations WHERE name = '0099_later'")
    daemon.start()
    assert total(daemon.forwarded(), "delivered") == 1
    assert daemon.stop() == 0
