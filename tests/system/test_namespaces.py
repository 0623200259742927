"""The real daemon on a machine of its own, whose route or resolver goes away and comes back."""

from __future__ import annotations

import json

import pytest
from fakes.daemon import LISTENERS, Client, total, unbalanced, until
from fakes.namespaces import SERVER, NameServer, missing, two_machines
from fakes.upstream import Upstream

CONFIG = f"""{LISTENERS}
[[upstream]]
name = "named"
kind = "samsara"
url = "http://ingest.test:PORT/v1/events"
signing = "none"
allow_plaintext = true
start = "oldest"
backoff = {{ initial = "50ms", max = "1s" }}
timeouts = {{ connect = "2s" }}

[[upstream]]
name = "numbered"
kind = "samsara"
url = "http://{SERVER}:PORT/v1/events"
signing = "none"
allow_plaintext = true
start = "oldest"
backoff = {{ initial = "50ms", max = "1s" }}
timeouts = {{ connect = "2s" }}
"""

LANES = ("named/samsara", "numbered/samsara")


@pytest.fixture(scope="module")
def machines():
    if reason := missing():
        pytest.skip(reason)
    with two_machines() as made:
        yield made


@pytest.fixture
def running(machines, make_daemon, waystation, tmp_path):
    with machines.in_world(NameServer) as names, machines.in_world(lambda: Upstream(host=SERVER)) as upstream:
        config = CONFIG.replace("PORT", str(upstream.port))
        daemon = make_daemon(config, command=machines.command(waystation, tmp_path))
        yield daemon.start(), names, upstream


def post(daemon, number):
    event = {"timestamp": 1, "sourceId": "till", "eventName": "sold", "n": number}
    with Client(daemon.socket) as client:
        reply = client.ask(
            "POST",
            "/v1/events",
            json.dumps([event]).encode(),
            {"Content-Type": "application/json", "X-Samsara-publishedTimestamp": "1"},
        )
    assert reply.status == 202


def lane(daemon, name):
    return next(lane for lane in daemon.status()["lanes"] if lane["name"] == name)


def assert_delivered(daemon, upstream, events):
    status = daemon.forwarded()
    assert unbalanced(status) == []
    for name in LANES:
        assert total(status, "delivered", lane=name) == events
    for taken in upstream.book.taken.values():
        assert [json.loads(event)["n"] for event in taken.values()] == list(range(events))
    assert len(upstream.book.taken) == len(LANES)
    assert upstream.book.problems == []


@pytest.mark.system
def test_a_route_that_goes_away_and_comes_back_loses_nothing(machines, running):
    daemon, _, upstream = running
    post(daemon, 0)
    daemon.forwarded()
    upstream._server.hang_up()  # what is kept alive is noticed to be dead only by its time-out
    machines.route("del")
    try:
        post(daemon, 1)
        until(lambda: lane(daemon, LANES[1])["state"] == "retrying", "the lane retries")
        assert "unreachable" in lane(daemon, LANES[1])["reason"]
        post(daemon, 2)
        assert total(daemon.status(), "pending", lane=LANES[1]) == 2
    finally:
        machines.route("add")
    assert_delivered(daemon, upstream, 3)


@pytest.mark.system
def test_a_resolver_that_falls_silent_holds_up_the_lanes_that_need_it_and_no_other(running):
    daemon, names, upstream = running
    post(daemon, 0)
    daemon.forwarded()
    names.silent = True
    upstream._server.hang_up()  # a connection that is kept alive needs no name
    for number in range(1, 6):
        post(daemon, number)
        until(lambda: lane(daemon, LANES[1])["pending_events"] == 0, "the lane that needs no name delivers")
    until(lambda: lane(daemon, LANES[0])["state"] == "retrying", "the lane that needs the name retries")
    assert lane(daemon, LANES[0])["pending_events"] >= 1
    names.silent = False
    assert_delivered(daemon, upstream, 6)
