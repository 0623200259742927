"""Requests as bytes at the running daemon: every valid form is taken however it comes, no other is."""

from __future__ import annotations

import json

import pytest
from fakes.daemon import LISTENERS, connect
from fakes.site import replies
from fakes.smuggling import SMUGGLING
from fakes.wire_forms import CLOSING, KEPT

pytestmark = pytest.mark.system

FORMS = KEPT | CLOSING
LAST = CLOSING["asks to close"]
HIDDEN = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n[]"
ANY_HOST = {"two Hosts", "two Hosts, different", "no Host", "Host in a list", "Host with a path"}
"""On UNIX sockets Host is not looked at, but that there is no second one."""


@pytest.fixture(scope="module")
def daemon(make_shared_daemon):
    return make_shared_daemon(LISTENERS).start()


@pytest.fixture(params=["port", "socket"])
def place(request, daemon):
    return daemon.ports()[0] if request.param == "port" else daemon.socket


def talk(place, *pieces):
    """Send the pieces one by one, read until the other side closes; what was answered."""
    received = b""
    with connect(place) as sock:
        try:
            for piece in pieces:
                sock.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has closed already: what it said is still there
        while data := sock.recv(65536):
            received += data
    return replies(received)


def stored(daemon):
    return sum(row["events"] for row in daemon.status()["received"])


@pytest.mark.parametrize("name", FORMS)
def test_every_valid_form_is_taken_whole_and_byte_by_byte(daemon, place, name):
    data = FORMS[name]
    closing = b"" if name in CLOSING else LAST
    before = stored(daemon)
    whole = talk(place, data + closing)
    single = talk(place, *(data[at : at + 1] for at in range(len(data))), closing)
    count = 1 + bool(closing)
    assert [reply.status for reply in whole + single] == [202] * 2 * count
    assert all("date" in reply.headers for reply in whole + single)
    assert stored(daemon) == before + 2 * count


def test_all_forms_in_one_pipeline_are_taken_in_order(daemon, place):
    before = stored(daemon)
    answers = talk(place, b"".join(KEPT.values()) * 3 + LAST)
    assert [answer.status for answer in answers] == [202] * (3 * len(KEPT) + 1)
    assert stored(daemon) == before + 3 * len(KEPT) + 1


def test_nothing_is_smuggled_past_a_refusal(daemon, place):
    before = stored(daemon)
    for name, (template, status) in SMUGGLING.items():
        if not isinstance(place, int) and name in ANY_HOST and not name.startswith("two"):
            continue
        data = template.replace(b"/echo", b"/v1/events")
        (reply,) = talk(place, data + HIDDEN * 2)
        assert (name, reply.status) == (name, status)
        assert reply.headers["connection"] == "close"
        told = json.loads(reply.body)
        assert told["status"] == "ERROR"
        assert told["message"]
    assert stored(daemon) == before


def test_each_listener_has_its_own_auth_and_token(make_daemon):
    daemon = make_daemon("""
[[listener]]
bind = "127.0.0.1:0"
token_file = "token"

[[listener]]
bind = "[::1]:0"
auth = "off"

[[listener]]
bind = "unix:$socket"

[[listener]]
bind = "unix:$socket.2"
token_file = "token"
""")
    daemon.secret("token", b"open-sesame\n")
    daemon.start()
    port = daemon.ports()[0]
    second = daemon.socket.with_name(daemon.socket.name + ".2")
    bearer = LAST.replace(b"Content-Length", b"Authorization: Bearer open-sesame\r\nContent-Length")
    wrong = bearer.replace(b"sesame", b"sesamy")
    for place in (port, second):
        assert [talk(place, data)[0].status for data in (LAST, wrong, bearer)] == [401, 401, 202]
        status = b"GET /v1/api-status HTTP/1.0\r\n\r\n"
        assert talk(place, status)[0].status == 200
    assert talk(daemon.socket, LAST)[0].status == 202
    assert stored(daemon) == 3
