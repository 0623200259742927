"""Stopping: what is in hand is finished, within bounds; what was acknowledged stays."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import pytest
from fakes.daemon import LISTENERS, Client, connect, total, unbalanced, until
from fakes.delivery import delivery_faults, in_files, repeat_faults
from fakes.load import App, seeded
from fakes.upstream import Behaviour, Upstream

pytestmark = pytest.mark.system

EVENT = b'[{"timestamp":1433004485870,"sourceId":"till","eventName":"sold"}]'
JSON = {"Content-Type": "application/json"}

TO_FILE = f"""{LISTENERS}
[[upstream]]
name = "file"
kind = "file"
"""


def to_upstream(url, *, drain_timeout):
    return f"""drain_timeout = "{drain_timeout}"
{LISTENERS}
[[upstream]]
name = "samsara"
kind = "samsara"
url = "{url}"
signing = "none"
"""


def post(address, body=EVENT):
    with Client(address) as client:
        assert client.ask("POST", "/v1/events", body, JSON).status == 202


def begin_request(address, body=EVENT):
    """A request of which the daemon has the head, and knows that it does: the body is awaited."""
    sock = connect(address)
    head = f"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    sock.sendall(f"{head}Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n".encode())
    assert sock.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
    return sock


def all_of(sock):
    """What comes until the connection ends."""
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def refuses(address):
    """Whether no connection is taken any more: the daemon is stopping."""
    try:
        connect(address).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_daemon_answers_what_is_in_hand_and_cleans_up(make_daemon, number):
    daemon = make_daemon(TO_FILE).start()
    (port,) = daemon.ports()
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(address)) for address in (port, daemon.socket)]
        in_hand = [stack.enter_context(begin_request(address)) for address in (port, daemon.socket)]
        daemon.signal(number)
        until(lambda: refuses(port) and refuses(daemon.socket), "it takes no more connections")
        assert [all_of(sock) for sock in idle] == [b"", b""]
        for sock in in_hand:
            sock.sendall(EVENT)
            answer = all_of(sock)
            assert answer.startswith(b"HTTP/1.1 202 Accepted\r\n")
            assert b"\r\nConnection: close\r\n" in answer
    assert daemon.wait() == 0
    assert not daemon.socket.exists()
    assert not daemon.admin.exists()
    status = daemon.start().forwarded()
    assert (total(status, "accepted"), total(status, "delivered")) == (2, 2)
    assert list(in_files(daemon.state_dir / "events")["samsara"]) == [0, 1]


def test_request_that_does_not_end_is_told_so_at_the_drain_timeout(make_daemon):
    daemon = make_daemon('drain_timeout = "300ms"\n' + TO_FILE).start()
    with begin_request(daemon.socket) as sock:
        assert daemon.stop() == 0
        assert all_of(sock).startswith(b"HTTP/1.1 408 ")


def test_attempt_in_flight_is_finished_and_settled(make_daemon):
    with Upstream() as upstream:
        upstream.script(Behaviour(delay=1.0))
        daemon = make_daemon(to_upstream(upstream.url, drain_timeout="60s")).start()
        post(daemon.socket)
        until(lambda: upstream.received, "the batch is at the upstream")
        assert daemon.stop() == 0
        status = daemon.start().forwarded()
        assert (total(status, "delivered"), len(upstream.received)) == (1, 1)


def test_attempt_that_does_not_end_is_abandoned_and_made_again_with_its_key(make_daemon):
    with Upstream() as upstream:
        upstream.script(Behaviour(hold=True))
        daemon = make_daemon(to_upstream(upstream.url, drain_timeout="200ms")).start()
        post(daemon.socket)
        until(lambda: upstream.received, "the batch is at the upstream")
        assert daemon.stop() == 0
        daemon.start()
        post(daemon.socket)
        status = daemon.forwarded()
    first, *again = upstream.received
    assert again[0].header("Idempotency-Key") == first.header("Idempotency-Key")
    assert repeat_faults(upstream.received) == []
    assert upstream.book.problems == []
    assert (total(status, "accepted"), total(status, "delivered")) == (2, 2)


def test_second_signal_abandons_all_at_once(make_daemon):
    with Upstream() as upstream:
        upstream.script(Behaviour(hold=True))
        daemon = make_daemon(to_upstream(upstream.url, drain_timeout="1h")).start()
        post(daemon.socket)
        until(lambda: upstream.received, "the batch is at the upstream")
        with begin_request(daemon.socket) as unfinished:
            daemon.signal()
            until(lambda: refuses(daemon.socket), "it takes no more connections")
            daemon.signal()
            assert daemon.wait() == 0
            assert all_of(unfinished) == b""
        status = daemon.start().forwarded()
        assert total(status, "delivered") == 1


def test_all_that_was_acknowledged_under_load_is_there_after_a_stop(make_daemon):
    daemon = make_daemon(TO_FILE).start()
    ports = daemon.ports()
    with ExitStack() as stack:
        apps = [
            stack.enter_context(App(address, f"app-{number}", chance=seeded(number)))
            for number, address in enumerate([lambda: ports[0], lambda: daemon.socket] * 3)
        ]
        for _ in range(2):
            goals = [(app, len(app.acknowledged) + 100) for app in apps]
            until(lambda: all(len(app.acknowledged) > goal for app, goal in goals), "all are served")  # noqa: B023
            assert daemon.stop() == 0
            ports[:] = daemon.start().ports()
    status = daemon.forwarded()
    assert daemon.stop() == 0
    sent = [event for app in apps for event in app.sent]
    acknowledged = [event for app in apps for event in app.acknowledged]
    arrived = in_files(daemon.state_dir / "events")["samsara"]
    assert delivery_faults(sent, acknowledged, arrived) == []
    assert total(status, "delivered") == len(arrived)
    assert unbalanced(status) == []
    assert {reply.status for app in apps for reply in app.refusals} == set()
