"""Watching the real daemon from a terminal, and draining it."""

from __future__ import annotations

import json
import subprocess

import pytest
from fakes.configs import ADMIN_OVER_TCP, FILE
from fakes.daemon import PATIENCE, Client, connect, until

pytestmark = pytest.mark.system

CONFIG = ADMIN_OVER_TCP + FILE
JSON = {"Content-Type": "application/json"}
EVENT = b'[{"timestamp":1433004485870,"sourceId":"till-4","eventName":"sold"}]'


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(CONFIG).start()


def post(daemon):
    with Client(daemon.socket) as client:
        assert client.ask("POST", "/v1/events", EVENT, JSON).status == 202
    return True


def test_events_are_shown_as_they_are_accepted_and_delivered(daemon):
    with connect(daemon.admin) as sock, sock.makefile("rb") as reader:
        sock.sendall(b"GET /v1/tail HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while reader.readline().strip():
            pass
        assert reader.readline() == b"\n"  # it watches from here on
        post(daemon)
        seen = [json.loads(reader.readline()) for _ in range(2)]
    assert {line["what"] for line in seen} == {"accepted", "delivered"}
    assert {line["event"]["sourceId"] for line in seen} == {"till-4"}
    assert daemon.stop() == 0


def test_one_who_watches_keeps_no_daemon_from_stopping(daemon):
    with connect(daemon.admin) as sock, sock.makefile("rb") as reader:
        sock.sendall(b"GET /v1/tail HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while reader.readline() != b"\n":
            pass
        assert daemon.stop() == 0
        assert reader.read() == b""


def test_what_is_in_events_is_not_shown_over_tcp_even_with_the_token(daemon):
    (port,) = daemon.ports()
    token = (daemon.state_dir / "admin.token").read_text().strip()
    with Client(port) as client:
        assert client.ask("GET", "/v1/tail", headers={"Authorization": f"Bearer {token}"}).status == 403


def test_tail_ends_after_as_many_events_as_were_asked_for(daemon):
    with subprocess.Popen(
        [daemon.command, "tail", "--delivered", "-n", "1"],
        cwd=daemon.directory,
        env=daemon.variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as watching:
        until(lambda: post(daemon) and watching.poll() is not None, "it has shown one")
        told, _ = watching.communicate(timeout=PATIENCE)
    assert watching.returncode == 0
    assert b"delivered file/samsara #" in told
    assert b'"sourceId":"till-4"' in told


def test_drain_says_by_its_exit_code_whether_all_went_out(daemon):
    post(daemon)
    drained = daemon.run("drain", "--wait")
    assert drained.returncode == 0, drained.stdout
    assert daemon.status()["ledger"][0]["delivered"] == 1
    # An upstream that cannot be reached takes nothing.
    daemon.configure(
        CONFIG.replace(
            'name = "file"\nkind = "file"',
            'name = "away"\nkind = "samsara"\nsigning = "none"\nurl = "http://127.0.0.1:9/"',
        )
    )
    with Client(daemon.admin) as client:
        assert client.ask("POST", "/v1/reload").status == 200
    post(daemon)
    until(lambda: any(lane["state"] == "retrying" for lane in daemon.status()["lanes"]), "it was tried")
    drained = daemon.run("drain", "--wait", "--timeout", "1")
    assert drained.returncode == 1
    assert b"1 of 1 events still wait" in drained.stdout
    assert b"away/samsara: retrying" in drained.stdout


def test_top_and_a_watched_status_show_the_daemon(daemon):
    post(daemon)
    daemon.forwarded()
    shown = daemon.run("top", "-n", "2", "--interval", "0.1")
    assert shown.returncode == 0
    assert shown.stdout.count(b"file/samsara") == 2
    watched = daemon.run("status", "--watch", "--json", "-n", "2", "--interval", "0.1")
    assert watched.returncode == 0
    assert [json.loads(line)["healthy"] for line in watched.stdout.splitlines()] == [True, True]
