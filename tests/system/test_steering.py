"""`waystation upstream` on the real process."""

from __future__ import annotations

import json

import pytest
from fakes.configs import FILE, KEY, KEY_FILE, KEY_ID, SIGNED
from fakes.daemon import LISTENERS, Client, total, unbalanced, until
from fakes.upstream import Behaviour, Upstream

pytestmark = pytest.mark.system

CONFIG = f"""{LISTENERS}{SIGNED}
linger = "1h"
backoff = {{ initial = "20ms", max = "200ms" }}
{FILE}
"""


def post(daemon, events):
    body = json.dumps(
        [{"timestamp": 1433004485870, "sourceId": "till", "eventName": "sold", "n": n} for n in range(events)]
    )
    with Client(daemon.socket) as client:
        answer = client.ask("POST", "/v1/events", body.encode(), {"Content-Type": "application/json"})
        assert answer.status == 202


def upstream_command(daemon, *arguments, code=0):
    done = daemon.run("upstream", *arguments)
    assert done.returncode == code, done.stderr
    return (done.stdout if code in {0, 1} else done.stderr).decode()


def test_an_upstream_is_tried_paused_resumed_flushed_and_forgotten(make_daemon):
    with Upstream(keys={KEY_ID: KEY}) as upstream:
        daemon = make_daemon(CONFIG.replace("URL", upstream.url))
        daemon.secret(KEY_FILE, KEY)
        told = upstream_command(daemon, "pause", "samsara", code=69)
        assert told.startswith("waystation: no daemon runs, and only a running one can do this")
        daemon.start()
        assert upstream_command(daemon, "test", "samsara").startswith("samsara: delivered: taken")
        assert upstream_command(daemon, "test", "file").startswith("file: delivered: taken")
        upstream.script(Behaviour(status=403, body=b"who are you?"))
        told = upstream_command(daemon, "test", "samsara", code=1)
        assert told.startswith("samsara: blocked: http 403 Forbidden: a body of 12 bytes: who are you?")
        assert "there is no upstream nobody" in daemon.run("upstream", "test", "nobody").stderr.decode()
        assert "is configured" in daemon.run("upstream", "forget", "file", "--yes").stderr.decode()
        tried = len(upstream.received)

        upstream_command(daemon, "pause", "samsara")
        post(daemon, 5)
        told = upstream_command(daemon, "list")
        assert told.startswith("samsara  paused  5 events\n  samsara/samsara: paused;")
        assert "is paused" in daemon.run("upstream", "flush", "samsara").stderr.decode()
        daemon.kill()
        daemon.start()
        (lane,) = [lane for lane in daemon.status()["lanes"] if lane["upstream"] == "samsara"]
        assert (lane["state"], lane["pending_events"]) == ("paused", 5)
        assert len(upstream.received) == tried

        upstream_command(daemon, "resume", "samsara")
        assert upstream_command(daemon, "flush", "samsara") == "samsara has delivered everything\n"
        upstream_command(daemon, "pause", "samsara")
        post(daemon, 3)
        daemon.stop()
        daemon.configure(f'{LISTENERS}\n[[upstream]]\nname = "file"\nkind = "file"\n')
        daemon.start()
        assert "samsara  orphaned  3 events" in upstream_command(daemon, "list")
        assert upstream_command(daemon, "forget", "samsara", "--yes") == "3 events evicted\n"
        until(lambda: total(daemon.status(), "delivered", lane="file") == 8, "the other one has them")
        status = daemon.status()
        assert daemon.stop() == 0
    assert unbalanced(status) == []
    assert [total(status, fate, lane="samsara") for fate in ("delivered", "evicted")] == [5, 3]
    assert upstream.book.problems == []
