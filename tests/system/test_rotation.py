"""Keys that are replaced under a running daemon, and where no secret ever is."""

from __future__ import annotations

import json

import pytest
from fakes.daemon import LISTENERS, Client, total, unbalanced, until
from fakes.upstream import Behaviour, Upstream

KEY, NEXT = b"the present key, of thirty-two bytes", b"the next key, which has that many too"
PASSWORD = "hunter2-and-more"

CONFIG = f"""{LISTENERS}
[[upstream]]
name = "samsara"
kind = "samsara"
url = "URL"
signing = "rfc9421"
key_id = "present"
secret_file = "present.secret"
next = {{ key_id = "next", secret_file = "next.secret" }}
backoff = {{ initial = "1s", max = "1h" }}

[log]
level = "debug"
"""


def post(daemon, number):
    event = {"timestamp": 1, "sourceId": "till", "eventName": "sold", "n": number}
    headers = {"Content-Type": "application/json", "X-Samsara-publishedTimestamp": "1"}
    with Client(daemon.socket) as client:
        assert client.ask("POST", "/v1/events", json.dumps([event]).encode(), headers).status == 202


def lane(daemon):
    (only,) = daemon.status()["lanes"]
    return only


@pytest.mark.system
def test_a_replaced_key_is_used_at_once_and_no_secret_is_anywhere(make_daemon):
    with Upstream(keys={"present": KEY}) as upstream:
        url = upstream.url.replace("localhost", f"kiosk:{PASSWORD}@localhost")
        daemon = make_daemon(CONFIG.replace("URL", url))
        daemon.secret("present.secret", b"not the key that the upstream knows")
        daemon.start()
        post(daemon, 0)
        until(lambda: lane(daemon)["state"] == "blocked", "the lane is blocked")
        assert "401" in lane(daemon)["reason"]
        # Its next probe is in half an hour; what it waits for is the key.
        daemon.secret("present.secret", KEY)
        daemon.forwarded(within=60)

        upstream.book.keys = {"next": NEXT}
        upstream.script(Behaviour(status=401, body=f"who is kiosk:{PASSWORD}?".encode()))
        post(daemon, 1)
        until(lambda: lane(daemon)["state"] == "blocked", "the lane is blocked again")
        until(lambda: "who is ***?" in daemon.log(), "its words are in the log, but for the secret")
        daemon.secret("next.secret", NEXT)
        status = daemon.forwarded(within=60)
        assert total(status, "delivered") == 2
        assert unbalanced(status) == []
        assert daemon.stop() == 0
    said = daemon.log().encode() + json.dumps(status).encode()
    spool = b"".join(file.read_bytes() for file in daemon.state_dir.rglob("*") if file.is_file())
    for secret in (KEY, NEXT, PASSWORD.encode()):
        assert secret not in said
        assert secret not in spool
    assert upstream.book.problems == []
