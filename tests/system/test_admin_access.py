"""The admin listener of the real daemon: who may reach it, over the UNIX socket and over TCP."""

from __future__ import annotations

import socket
import stat

import pytest
from fakes.configs import ADMIN_OVER_TCP, FILE
from fakes.daemon import Client

pytestmark = pytest.mark.system

CONFIG = ADMIN_OVER_TCP + FILE

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def admin(make_daemon):
    return make_daemon(CONFIG).start()


def ask(daemon, method, path, body=None, **headers):
    (port,) = daemon.ports()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with Client(port) as client:
        return client.ask(method, path, body, named).status


def bearer(daemon):
    return f"Bearer {(daemon.state_dir / 'admin.token').read_text().strip()}"


def test_over_the_unix_socket_its_owner_alone_may_ask(admin):
    assert stat.S_IMODE(admin.admin.stat().st_mode) == 0o600
    assert admin.ask("/v1/lanes").status == 200


def test_over_tcp_it_asks_for_the_token(admin):
    assert ask(admin, "GET", "/livez") == 200
    assert ask(admin, "GET", "/readyz") == 200
    assert ask(admin, "GET", "/v1/api-status") == 200
    for path in ("/metrics", "/v1/status", "/v1/lanes", "/v1/dead-letters"):
        assert ask(admin, "GET", path) == 401
        assert ask(admin, "GET", path, Authorization="Bearer guess") == 401
        assert ask(admin, "GET", path, Authorization=bearer(admin)) == 200
    assert ask(admin, "POST", "/v1/reload") == 401
    assert ask(admin, "POST", "/v1/reload", Authorization=bearer(admin)) == 200


def test_what_a_page_of_another_site_causes_is_refused(admin):
    token = bearer(admin)
    for origin in ("https://shop.example", "http://localhost:3000", "null"):
        assert ask(admin, "GET", "/v1/status", Origin=origin, Authorization=token) == 403
        assert ask(admin, "POST", "/v1/reload", Origin=origin, Authorization=token) == 403
        assert ask(admin, "PUT", "/v1/api-status", b'{"status":"offline"}', Origin=origin, **JSON) == 403
    assert ask(admin, "GET", "/livez", Sec_Fetch_Site="cross-site") == 403
    assert ask(admin, "GET", "/livez", Host="rebound.example") == 403
    assert ask(admin, "GET", "/v1/api-status") == 200


def test_a_token_of_ones_own_is_taken_up_by_a_reload(admin):
    admin.secret("token", b"a token that nobody guesses\n")
    admin.configure(CONFIG.replace("[admin]", '[admin]\ntoken_file = "token"'))
    before = bearer(admin)
    with Client(admin.admin) as client:
        assert client.ask("POST", "/v1/reload").status == 200
    assert ask(admin, "GET", "/metrics", Authorization=before) == 401
    assert ask(admin, "GET", "/metrics", Authorization="Bearer a token that nobody guesses") == 200


def test_a_page_that_reaches_the_forwarded_socket_is_refused(admin):
    """What `ssh -L 8080:admin.sock` or socat lets a browser send."""

    def through(*lines):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(admin.admin))
            sock.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
            return int(sock.makefile("rb").readline().split()[1])

    assert through("GET /v1/status HTTP/1.1", "Host: localhost:8080") == 200
    assert through("GET /v1/status HTTP/1.1", "Host: rebound.example:8080") == 403
    assert through("GET /v1/tail HTTP/1.1", "Host: rebound.example:8080") == 403
    assert through("POST /v1/reload HTTP/1.1", "Host: localhost:8080", "Origin: https://shop.example") == 403
    assert through("GET /v1/status HTTP/1.1", "Host: localhost:8080", "Sec-Fetch-Site: cross-site") == 403
