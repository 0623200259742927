from __future__ import annotations

import stat

import pytest

from collector.admin.access import Access, SocketAccess, kept_token
from collector.admin.links import Links
from collector.errors import SecretError
from collector.listener.routes import Peer, Request

TOKEN = b"k3JqOa0vWf8-token"


LINKS = Links(lambda: 0.0, iter(("a link", "a key", "another")).__next__)


def ask(path: str = "/v1/status", query: str = "", **headers: str) -> int | None:
    """What the gate answers; None where it lets the request through."""
    named = {"host": "127.0.0.1:9010", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = Request("GET", path, query, "1.1", named, Peer("tcp"))
    answer = Access(lambda: (TOKEN,), LINKS).refuse(request)
    return None if answer is None else answer.status


BEARER = f"Bearer {TOKEN.decode()}"


def test_whoever_has_the_token_may():
    assert ask(authorization=BEARER) is None
    assert ask(authorization=BEARER.replace("Bearer", "bearer"), host="localhost:9010") is None


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer nope", f"Basic {TOKEN.decode()}", f"{BEARER}x"])
def test_whoever_has_not_may_not(given):
    assert ask(authorization=given) == 401


def test_no_token_of_ours_means_that_none_fits():
    request = Request(
        "GET", "/metrics", "", "1.1", {"host": "localhost", "authorization": "Bearer "}, Peer("tcp")
    )
    assert Access(tuple, LINKS).refuse(request).status == 401


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/v1/api-status", "/page.css"])
def test_health_needs_no_token(path):
    assert ask(path) is None


@pytest.mark.parametrize(
    "path", ["/metrics", "/v1/status", "/v1/dead-letters", "/v1/reload", "/livez/", "/", "/v1/open"]
)
def test_all_else_does(path):
    assert ask(path) == 401


def test_a_link_and_its_key_open_the_page_and_nothing_else():
    assert LINKS.make() == "a link"
    assert ask("/", "link=a+link") is None
    assert ask("/replay", "link=a+link") == 401
    assert LINKS.open("a link") == "a key"
    assert ask("/", "link=a+link") == 401
    assert ask("/", "key=a+key") is None
    assert ask("/replay", "key=a+key") is None
    assert ask("/", "key=a+key&key=") == 401
    for path in ("/v1/status", "/v1/open", "/v1/reload", "/metrics", "/v1/dead-letters"):
        assert ask(path, "key=a+key") == 401
    assert ask("/", "key=a+key", origin="https://evil.example") == 403
    assert ask("/", "key=a+key", sec_fetch_site="cross-site") == 403
    assert ask("/", "key=a+key", host="evil.example") == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9010", "127.0.0.1.evil.example", "10.0.0.1"])
def test_a_name_that_was_pointed_at_loopback_is_refused(host):
    assert ask("/livez", host=host) == 403


def test_without_a_host_nothing_is_answered():
    request = Request("GET", "/livez", "", "1.0", {}, Peer("tcp"))
    assert Access(lambda: (TOKEN,), LINKS).refuse(request).status == 403


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:9010", "http://127.0.0.1:3000"]
)
def test_a_page_of_another_origin_is_refused_even_with_the_token(origin):
    assert ask(authorization=BEARER, origin=origin) == 403
    assert ask("/livez", origin=origin) == 403


def test_its_own_page_may_with_the_token():
    assert ask(authorization=BEARER, origin="http://127.0.0.1:9010") is None
    assert ask(origin="http://127.0.0.1:9010") == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything-new"])
def test_an_image_or_form_of_another_site_is_refused(site):
    assert ask("/livez", sec_fetch_site=site) == 403


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_who_types_the_address_is_not(site):
    assert ask("/livez", sec_fetch_site=site) is None


def test_a_token_is_made_once_and_for_its_owner_alone(tmp_path):
    file = tmp_path / "admin.token"
    token = kept_token(file, {})
    assert len(token) >= 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert kept_token(file, {}) == token


def test_a_token_that_others_may_read_is_refused(tmp_path):
    file = tmp_path / "admin.token"
    kept_token(file, {})
    file.chmod(0o644)
    with pytest.raises(SecretError):
        kept_token(file, {})


def over_the_socket(**headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = SocketAccess().refuse(Request("GET", "/v1/tail", "", "1.1", named, Peer("unix", uid=0)))
    return None if answer is None else answer.status


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8080", "LOCALHOST", "", "waystation", "unix", "docker:80", "localhost."),
        *("127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "10.0.0.7:8080"),
        *("admin.sock", "admin.sock:80", "waystation.admin.socket"),
        *("/run/waystation/admin.sock", "%2Frun%2Fwaystation.d%2Fadmin", "%2frun%2fa.b"),
    ],
)
def test_what_clients_of_a_unix_socket_put_into_host_is_taken(host):
    assert over_the_socket(host=host) is None
    assert over_the_socket() is None


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8080", "EVIL.EXAMPLE.", "127.0.0.1.evil.example", "sock.example"),
        *("localhost.evil.example:8080", "127.1.example", "1.2.3.4.5", "a.localhost"),
    ],
)
def test_a_name_that_may_have_been_pointed_at_a_forwarded_socket_is_refused(host):
    assert over_the_socket(host=host) == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:8080", ""])
def test_no_page_reaches_a_forwarded_socket(origin):
    assert over_the_socket(host="localhost:8080", origin=origin) == 403
    assert over_the_socket(host="localhost:8080", sec_fetch_site="cross-site") == 403
    assert over_the_socket(host="localhost:8080", sec_fetch_site="same-site") == 403
    assert over_the_socket(host="localhost:8080", sec_fetch_site="none") is None


def test_a_page_may_ask_the_socket_for_nothing():
    gate = SocketAccess()
    assert gate.cors("http://localhost") == ""
    request = Request("OPTIONS", "/v1/status", "", "1.1", {}, Peer("unix"))
    assert gate.preflight(request, "GET").headers == (("Allow", "GET"),)
    assert gate.authorise(request) is None
