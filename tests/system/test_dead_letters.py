"""Dead letters on the real process: refused, looked at, replayed once the upstream is right, purged."""

from __future__ import annotations

import json

import pytest
from fakes.configs import FILE, UNSIGNED
from fakes.daemon import LISTENERS, Client, total, unbalanced, until
from fakes.delivery import arrivals, bare, in_files
from fakes.upstream import Behaviour, Upstream

pytestmark = pytest.mark.system

CONFIG = f"""{LISTENERS}{UNSIGNED}
backoff = {{ initial = "20ms", max = "200ms" }}
{FILE}
"""
LANE = "samsara/samsara"
REFUSED = Behaviour(status=400, body=b'["OK","eventName: not known here","OK"]')


def post(daemon, *names):
    events = [{"timestamp": 1433004485870, "sourceId": "till", "eventName": name} for name in names]
    with Client(daemon.socket) as client:
        body = json.dumps(events).encode()
        assert client.ask("POST", "/v1/events", body, {"Content-Type": "application/json"}).status == 202


def letters(daemon, *arguments):
    done = daemon.run("dead-letters", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def names(events):
    return {position: json.loads(bare(text))["eventName"] for position, text in events.items()}


def counted(daemon, what):
    return lambda: (status := daemon.status()) and what(status) and status


def test_a_refused_event_is_delivered_once_by_a_replay_after_the_upstream_was_put_right(make_daemon):
    with Upstream() as upstream:
        upstream.script(REFUSED)
        daemon = make_daemon(CONFIG.replace("URL", upstream.url)).start()
        post(daemon, "sold", "returned", "closed")
        status = daemon.forwarded()
        assert (total(status, "delivered", lane=LANE), total(status, "dead", lane=LANE)) == (2, 1)

        (letter,) = map(json.loads, letters(daemon, "list", "--json").splitlines())
        assert (letter["lane"], letter["position"], letter["status"]) == (LANE, 1, 400)
        assert letter["reason"] == "eventName: not known here"
        shown = json.loads(letters(daemon, "show", str(letter["id"])))
        assert shown["event"]["eventName"] == "returned"

        daemon.kill()
        assert json.loads(letters(daemon, "export")) == shown
        refused = daemon.run("dead-letters", "replay", str(letter["id"]))
        assert (refused.returncode, refused.stdout) == (69, b"")
        assert refused.stderr.startswith(b"waystation: only the running daemon may replay dead letters")
        daemon.start()

        assert letters(daemon, "replay", "--lane", LANE, "--yes") == "replayed 1 dead letter\n"
        daemon.kill()
        daemon.start()
        until(
            counted(daemon, lambda status: total(status, "delivered", lane=LANE) == 3),
            "the replayed event is delivered",
        )
        assert letters(daemon, "list") == "there are no dead letters\n"
        post(daemon, "opened")
        status = daemon.forwarded()
        assert daemon.stop() == 0

    assert unbalanced(status) == []
    for lane in (LANE, "file/samsara"):
        assert total(status, "accepted", lane=lane) == total(status, "delivered", lane=lane) == 4
    (taken,) = arrivals(upstream).values()
    assert names(taken) == {0: "sold", 2: "closed", 3: "returned", 4: "opened"}
    assert upstream.book.problems == []
    (written,) = in_files(daemon.state_dir / "events").values()
    # The replay was not for this lane, which sees a gap in its place.
    assert names(written) == {0: "sold", 1: "returned", 2: "closed", 4: "opened"}


def test_dead_letters_beyond_their_bound_go_and_stay_counted(make_daemon):
    with Upstream() as upstream:
        upstream.script(*[Behaviour(status=400)] * 6)
        config = f"{CONFIG.replace('URL', upstream.url)}\n[dead_letters]\nmax_count = 1\n"
        daemon = make_daemon(config).start()
        for name in ("one", "two", "three"):
            post(daemon, name)
            daemon.forwarded()
        until(lambda: "dead_letters_ended" in daemon.log(), "the bound is kept")
        (letter,) = map(json.loads, letters(daemon, "export").splitlines())
        assert letter["event"]["eventName"] == "three"
        assert letters(daemon, "purge", "--all", "--yes") == "purged 1 dead letter\n"
        status = daemon.status()
        assert (total(status, "dead", lane=LANE), unbalanced(status)) == (3, [])
