"""A client that makes up product keys, against the real daemon."""

from __future__ import annotations

import json

import pytest
from fakes.daemon import Client, unbalanced, until

pytestmark = pytest.mark.system

CONFIG = """
[[listener]]
bind = "unix:$socket"

[[upstream]]
name = "file"
kind = "file"

[limits]
max_products = {most}
"""
EVENT = json.dumps(
    [{"eventType": "tap", "clientTimestamp": "2026-01-01T00:00:00.000000+00:00", "data": {}}]
).encode()


def post(daemon, key, body=EVENT):
    with Client(daemon.socket) as client:
        return client.ask(
            "POST", "/v1/events", body, {"Content-Type": "application/json", "X-Product-Key": key}
        )


def test_no_more_products_come_in_than_are_allowed_and_nobody_is_forgotten(make_daemon):
    daemon = make_daemon(CONFIG.format(most=2)).start()
    assert [post(daemon, f"odd-{number}", b"[{}]").status for number in range(5)] == [400] * 5
    assert [post(daemon, key).status for key in ("one", "two", "one")] == [200] * 3
    refused = post(daemon, "three")
    assert (refused.status, refused.headers["retry-after"]) == (503, "30")
    assert b"limits.max_products" in refused.body
    assert post(daemon, "two").status == 200
    metrics = daemon.ask("/metrics").body.decode()
    assert "\nwaystation_products 2.0\n" in metrics
    assert "\nwaystation_products_refused_requests_total 1.0\n" in metrics
    until(lambda: "event=requests_refused " in daemon.log(), "the log says so")
    assert daemon.stop() == 0
    daemon.start()
    assert [post(daemon, key).status for key in ("one", "two", "three")] == [200, 200, 503]
    daemon.configure(CONFIG.format(most=3))
    assert daemon.run("config", "check").returncode == 0
    with Client(daemon.admin) as client:
        assert client.ask("POST", "/v1/reload").status == 200
    assert post(daemon, "three").status == 200
    status = daemon.forwarded()
    assert not unbalanced(status)
    assert {row["product"]: row["events"] for row in status["received"]} == {"one": 3, "two": 3, "three": 1}
    assert daemon.stop() == 0
