"""Host and Origin: who is let in, and what browsers are told."""

from __future__ import annotations

import pytest

from collector.config.model import Listener, Secret
from collector.listener.admission import Admission, host_name
from collector.listener.routes import Peer, Request
from collector.listener.token import BearerToken


def head(**headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("POST", "/v1/events", "", "1.1", fields, Peer("tcp"))


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:9000", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[::1]:9000", "[::1]"),
        ("localhost:", "localhost"),
        ("", ""),
        (":9000", ""),
        ("::1", ":"),
        ("localhost:evil", "localhost:evil"),
        ("localhost:80:80", "localhost:80"),
    ],
)
def test_a_host_is_compared_without_its_port(host, name):
    assert host_name(host) == name


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9000", "LOCALHOST:1", "127.0.0.1:9000", "[::1]:9000"]
)
def test_local_hosts_are_let_in_at_any_port(host):
    gate = Admission()
    assert gate.refuse(head(host=host)) is None
    assert gate.refuse(head(host=host)) is None  # now from memory


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9000",
        "localhost.evil.example",
        "",
        "[::2]",
        "127.0.0.2",
    ],
)
def test_other_hosts_are_refused(host):
    assert Admission().refuse(head(host=host)).status == 403


@pytest.mark.parametrize(
    "host",
    [
        "localhost@evil.example",
        "localhost, evil.example",
        "localhost/x",
        "local host",
        "a:b:9",
        "[::1",
        "localhost\xa0",
        "localhost:\xb2",
    ],
)
def test_what_is_no_host_at_all_is_refused_and_the_connection_closed(host):
    refusal = Admission().refuse(head(host=host))
    assert (refusal.status, refusal.close) == (400, True)


def test_more_hosts_may_be_allowed():
    gate = Admission(hosts=["Kiosk.Local:80"])
    assert gate.refuse(head(host="kiosk.local:9000")) is None
    assert gate.refuse(head(host="other.local")).status == 403


def test_what_is_remembered_of_hosts_is_bounded():
    gate = Admission()
    for port in range(1000):
        assert gate.refuse(head(host=f"localhost:{port}")) is None
    assert len(gate._known) <= 64


def test_the_host_of_a_unix_socket_is_not_looked_at():
    gate = Admission.of(Listener(bind="unix:/run/s"))
    assert gate.refuse(head(host="evil.example")) is None
    assert gate.refuse(head()) is None


def test_an_address_that_a_listener_is_bound_to_is_among_its_hosts():
    gate = Admission.of(Listener(bind="192.0.2.7:9000", allowed_hosts=("kiosk",)))
    for host in ("192.0.2.7:9000", "kiosk", "localhost"):
        assert gate.refuse(head(host=host)) is None
    assert gate.refuse(head(host="192.0.2.8")).status == 403
    assert Admission.of(Listener(bind="[2001:db8::1]:9000")).refuse(head(host="[2001:db8::1]:9000")) is None


def test_http_1_0_needs_no_host_unless_a_page_sends_it():
    gate = Admission(origins=["http://page"])
    assert gate.refuse(head()) is None
    assert gate.refuse(head(origin="http://page")).status == 403


@pytest.mark.parametrize("origin", ["http://localhost:3000", "null", "HTTP://LocalHost:3000"])
def test_allowed_origins_are_let_in_and_may_read_the_answer(origin):
    gate = Admission(origins=["http://localhost:3000/", "null"])
    assert gate.refuse(head(host="localhost", origin=origin)) is None
    assert gate.cors(origin) == f"Access-Control-Allow-Origin: {origin}\r\nVary: Origin\r\n"


@pytest.mark.parametrize(
    "origin", ["http://localhost:3001", "https://localhost:3000", "null", "", "http://evil.example"]
)
def test_other_origins_are_refused_and_may_not(origin):
    for kind in (True, False):
        gate = Admission(origins=["http://localhost:3000"], check_host=kind)
        assert gate.refuse(head(host="localhost", origin=origin)).status == 403
        assert gate.cors(origin) == ""


def test_a_preflight_is_granted_the_headers_it_asks_for():
    gate = Admission(origins=["null"])
    asked = head(
        host="localhost",
        origin="null",
        access_control_request_method="POST",
        access_control_request_headers="content-type,x-product-auth, x-requested-with",
    )
    answer = gate.preflight(asked, "POST, OPTIONS")
    assert (answer.status, answer.body) == (204, b"")
    assert dict(answer.headers) == {
        "Access-Control-Allow-Methods": "POST, OPTIONS",
        "Access-Control-Allow-Headers": "content-type,x-product-auth, x-requested-with",
        "Access-Control-Max-Age": "600",
    }


@pytest.mark.parametrize("wanted", ["a\r\nb", "a b", "a,,b", "", "ä"])
def test_only_names_of_headers_are_sent_back(wanted):
    asked = head(origin="null", access_control_request_method="POST", access_control_request_headers=wanted)
    assert "Access-Control-Allow-Headers" not in dict(
        Admission(origins=["null"]).preflight(asked, "POST").headers
    )


def test_a_page_that_asks_for_the_local_network_is_granted_it():
    asked = head(
        origin="null",
        access_control_request_method="POST",
        access_control_request_private_network="true",
    )
    headers = dict(Admission(origins=["null"]).preflight(asked, "POST").headers)
    assert headers["Access-Control-Allow-Private-Network"] == "true"


def test_options_without_a_page_says_what_is_allowed():
    answer = Admission().preflight(head(host="localhost"), "POST, OPTIONS")
    assert (answer.status, answer.headers) == (204, (("Allow", "POST, OPTIONS"),))


# Users and tokens.


@pytest.mark.parametrize(
    ("peer", "may"),
    [
        (Peer("unix", uid=7, gid=70), True),
        (Peer("unix", uid=8, gid=50), True),
        (Peer("unix", uid=8, gid=70, groups=(70, 50)), True),
        (Peer("unix", uid=8, gid=70, groups=(70,)), False),
        (Peer("unix", uid=0, gid=0), False),
        (Peer("unix"), False),
    ],
)
def test_users_and_groups_on_the_list_alone_may_use_the_socket(peer, may):
    gate = Admission(check_host=False, users=[7], groups=[50])
    refusal = gate.refuse(Request("POST", "/v1/events", "", "1.1", {}, peer))
    assert (refusal is None) is may
    assert may or refusal.status == 403


def test_without_a_list_the_mode_of_the_socket_decides():
    gate = Admission(check_host=False)
    assert gate.refuse(Request("POST", "/", "", "1.1", {}, Peer("unix", uid=1234))) is None


@pytest.fixture
def token(tmp_path):
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text("open-sesame\n")
    return file


def bearer(gate, authorization, method="POST"):
    headers = {} if authorization is None else {"authorization": authorization}
    refusal = gate.authorise(Request(method, "/v1/events", "", "1.1", headers, Peer("tcp")))
    return refusal.status if refusal else None


def test_what_changes_something_must_carry_the_token(token):
    gate = Admission(token=BearerToken(Secret("file", str(token)), {}))
    assert bearer(gate, "Bearer open-sesame") is None
    assert bearer(gate, "bearer  open-sesame ") is None
    wrong = [None, "", "Bearer", "Bearer open", "Bearer open-sesame2", "Basic open-sesame", "open-sesame"]
    wrong.append("Bearer \xff")
    assert [bearer(gate, header) for header in wrong] == [401] * len(wrong)
    assert bearer(gate, None, "GET") is None
    assert bearer(gate, None, "OPTIONS") is None
    assert bearer(Admission(), None) is None


def test_a_rotated_token_is_taken_beside_the_one_before_it(token):
    bearer_token = BearerToken(Secret("file", str(token)), {})
    gate = Admission(token=bearer_token)
    token.write_text("second")
    bearer_token.refresh()
    assert [bearer(gate, f"Bearer {text}") for text in ("open-sesame", "second")] == [None, None]
    token.write_text("third")
    bearer_token.refresh()
    assert [bearer(gate, f"Bearer {text}") for text in ("open-sesame", "second", "third")] == [
        401,
        None,
        None,
    ]
    token.unlink()
    bearer_token.refresh()
    assert bearer(gate, "Bearer third") is None
