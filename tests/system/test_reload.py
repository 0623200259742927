"""Reloading the real daemon: all or nothing, and nobody notices who need not."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack

import pytest
from fakes.daemon import PATIENCE, Client, connect, total, unbalanced, until
from fakes.delivery import arrivals, delivery_faults, in_files, repeat_faults
from fakes.load import App, seeded
from fakes.markdown import ROOT
from fakes.upstream import Upstream

pytestmark = pytest.mark.system

EVENT = b'[{"timestamp":1433004485870,"sourceId":"till","eventName":"sold"}]'
JSON = {"Content-Type": "application/json"}

PAGE = ROOT / "docs/operations/api.md"

TIMES = 1000
PAUSE = 0.02
"""Between two requests of an app: enough of them meet each reload, and their number stays bounded."""

BASE = """
[[listener]]
bind = "unix:$socket"

[[upstream]]
name = "file"
kind = "file"
directory = "$home/events"
"""

MORE = """
[[listener]]
bind = "unix:$home/more.sock"

[[upstream]]
name = "more"
kind = "file"
directory = "$home/more"
"""


def reload(daemon):
    with Client(daemon.admin) as client:
        reply = client.ask("POST", "/v1/reload")
    return reply.status, json.loads(reply.body)


def post(address):
    with Client(address) as client:
        return client.ask("POST", "/v1/events", EVENT, JSON).status


def metric(daemon, name):
    lines = daemon.ask("/metrics").body.decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


def test_listeners_and_upstreams_come_and_go(make_daemon):
    daemon = make_daemon(BASE).start()
    more = daemon.home / "more.sock"
    assert post(daemon.socket) == 202
    daemon.configure(BASE + MORE)
    assert reload(daemon) == (200, {"changed": ["listener", "upstream"]})
    assert post(more) == 202
    daemon.forwarded()
    assert len(in_files(daemon.home / "events")["samsara"]) == 2
    assert len(in_files(daemon.home / "more")["samsara"]) == 1
    daemon.configure(BASE)
    assert reload(daemon) == (200, {"changed": ["listener", "upstream"]})
    assert post(daemon.socket) == 202
    until(lambda: not more.exists(), "the listener that left is gone")
    with pytest.raises(OSError, match="No such file"):
        connect(more)
    daemon.forwarded()
    assert {lane["name"]: lane["state"] for lane in daemon.status()["lanes"]} == {
        "file/samsara": "healthy",
        "more/samsara": "orphaned",
    }
    assert daemon.stop() == 0


def test_an_invalid_file_changes_nothing_and_says_why(make_daemon):
    daemon = make_daemon(BASE).start()
    daemon.configure(BASE + MORE + '[spool]\nmax_age = "soon"\ncolour = "blue"\n')
    status, reply = reload(daemon)
    assert (status, reply["message"]) == (409, "nothing was changed")
    assert [problem.split(": ")[1] for problem in reply["problems"]] == ["spool.max_age", "spool.colour"]
    assert not (daemon.home / "more.sock").exists()
    assert len(daemon.status()["upstreams"]) == 1
    assert metric(daemon, "waystation_config_last_reload_successful") == 0
    assert "spool.max_age" in daemon.status()["reload_refused"]
    daemon.signal(signal.SIGHUP)
    until(lambda: daemon.log().count("event=reload_refused") == 1, "the log says so")
    assert "spool.max_age" in daemon.log()
    assert post(daemon.socket) == 202
    seen = daemon.run("status")
    assert seen.returncode == 0
    assert b"the last reload was refused" in seen.stdout
    assert b"next: " not in seen.stdout
    assert b"spool.max_age" in seen.stderr
    assert b"the daemon goes on with the configuration that it has" in seen.stderr
    looks = [
        ("status",),
        ("ledger", "--day", "yesterday"),
        ("top", "-n", "1"),
        ("drain", "--wait"),
        ("upstream", "list"),
        ("dead-letters", "list"),
    ]
    assert [daemon.run(*look).returncode for look in looks] == [0] * len(looks)
    assert daemon.stop() == 0
    assert [daemon.run(*look).returncode for look in looks] == [78] * len(looks)


def test_a_listener_that_cannot_be_bound_changes_nothing(make_daemon):
    daemon = make_daemon(BASE).start()
    (daemon.home / "more.sock").write_text("in the way")
    daemon.configure(BASE + MORE)
    status, reply = reload(daemon)
    assert status == 409
    assert "a file that is not a socket is in the way" in reply["message"]
    assert len(daemon.status()["upstreams"]) == 1
    (daemon.home / "more.sock").unlink()
    assert reload(daemon)[0] == 200


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ('device = "kiosk-18"', "device"),
        ('state_dir = "elsewhere"', "state_dir"),
        ('spool = { durability = "normal" }', "spool.durability"),
        ('spool = { commit_interval = "10ms" }', "spool.commit_interval"),
        ("limits = { max_connections = 17 }", "limits.max_connections"),
        ("limits = { max_connections_per_peer = 17 }", "limits.max_connections_per_peer"),
        ('limits = { max_bodies_bytes = "17MiB" }', "limits.max_bodies_bytes"),
        ("limits = { listen_backlog = 17 }", "limits.listen_backlog"),
    ],
)
def test_what_needs_a_restart_is_named_and_changes_nothing(make_daemon, change, key):
    daemon = make_daemon(BASE).start()
    daemon.configure(change + BASE + MORE)
    status, reply = reload(daemon)
    assert status == 409
    (row,) = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if "need a restart" in line]
    assert f"`{key}`" in row
    assert reply["message"] == f"{key} can only be changed by a restart; nothing was changed"
    assert not (daemon.home / "more.sock").exists()


def test_sighup_reloads_limits_labels_and_the_log(make_daemon):
    daemon = make_daemon(BASE).start()
    drop_in = daemon.config_file.parent / "conf.d/10-site.toml"
    drop_in.parent.mkdir()
    drop_in.write_text('[spool]\nmax_bytes = "64MiB"\n[labels]\nsite = "north"\n[log]\nformat = "json"\n')
    daemon.signal(signal.SIGHUP)
    until(lambda: '"event":"reloaded"' in daemon.log().replace(" ", ""), "it has reloaded")
    assert daemon.status()["spool"]["max_bytes"] == 64 << 20
    told = json.loads(daemon.log().splitlines()[-1])
    assert (told["event"], told["changed"], told["site"]) == ("reloaded", "labels, spool, log", "north")
    assert 'waystation_spool_quota_bytes{site="north"} 6.7108864e+07' in daemon.ask("/metrics").body.decode()


def test_a_connection_outlives_a_change_of_its_listener(make_daemon):
    daemon = make_daemon(BASE).start()
    with Client(daemon.socket) as client:
        assert client.ask("POST", "/v1/events", EVENT, JSON).status == 202
        assert client.ask("GET", "/v1/events", headers={"Origin": "http://a.example"}).status == 405
        sock = client.sock
        listener = '[[listener]]\nbind = "unix:$socket"\n'
        daemon.configure(BASE.replace(listener, listener + 'allowed_origins = ["http://a.example"]\n'))
        assert reload(daemon) == (200, {"changed": ["listener"]})
        reply = client.ask("POST", "/v1/events", EVENT, {**JSON, "Origin": "http://a.example"})
        assert reply.status == 202
        assert reply.headers["access-control-allow-origin"] == "http://a.example"
        assert client.sock is sock


def test_a_thousand_reloads_under_load_fail_no_request_and_lose_no_event(make_daemon):
    chance = seeded("reload", TIMES)
    with Upstream() as upstream:
        remote = """
[[upstream]]
name = "remote"
kind = "samsara"
url = "$url"
signing = "none"
max_events = $events
"""
        daemon = make_daemon(BASE)

        def configure():
            base = BASE.replace(
                "[[upstream]]",
                f'allowed_origins = ["http://{chance.choice("abc")}.example"]\n[[upstream]]',
                1,
            )
            text = base + remote.replace("$url", upstream.url).replace("$events", str(chance.randint(20, 99)))
            text += f'[spool]\nmax_bytes = "{chance.randint(500, 600)}MiB"\n'
            text += f"[limits]\nmax_headers = {chance.randint(50, 100)}\n"
            daemon.configure(text + MORE if chance.random() < 0.5 else text)

        configure()
        daemon.start()
        apps = [
            App(lambda: daemon.socket, f"app-{number}", chance=seeded("app", number), pause=PAUSE)
            for number in range(3)
        ]
        with ExitStack() as stack:
            for app in apps:
                stack.enter_context(app)
            for _ in range(TIMES):
                configure()
                assert reload(daemon)[0] == 200
            until(lambda: all(app.acknowledged for app in apps), "every app was heard")
        status = until(lambda: settled(daemon), "all is delivered", within=4 * PATIENCE)
        sent = [event for app in apps for event in app.sent]
        assert [app.breaks for app in apps] == [[], [], []]
        assert [app.refusals for app in apps] == [[], [], []]
        assert unbalanced(status) == []
        for lane in ("file", "remote"):
            assert total(status, "accepted", lane=lane) == total(status, "delivered", lane=lane) == len(sent)
        (arrived,) = arrivals(upstream).values()
        assert delivery_faults(sent, sent, arrived) == []
        assert repeat_faults(upstream.received) == []
        files = in_files(daemon.home / "events")["samsara"]
        assert delivery_faults(sent, sent, files) == []
        assert daemon.stop() == 0


def settled(daemon):
    """The status, once the lanes that are not orphaned have delivered all."""
    status = daemon.status()
    waiting = [lane for lane in status["lanes"] if lane["state"] != "orphaned" and lane["pending_events"]]
    return None if waiting else status
