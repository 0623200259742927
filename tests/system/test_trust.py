"""Each lack of trust, as the real daemon tells it: in status, in the metrics and in the log."""

from __future__ import annotations

import json
import ssl
from contextlib import ExitStack

import pytest
from fakes.certificates import Authority
from fakes.daemon import LISTENERS, Client, total, unbalanced, until
from fakes.upstream import Upstream

UPSTREAM = """
[[upstream]]
name = "NAME"
kind = "samsara"
url = "URL"
signing = "none"
start = "oldest"
ca_file = "CA"
backoff = { initial = "50ms", max = "200ms" }
"""

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

# By upstream: its server, its TLS, what else its client is configured with, and how that is told.
CASES = {
    "other-host": ({"name": "elsewhere.example"}, TLS_1_3, "", "another host's certificate"),
    "expired": ({"days": (-3, -1)}, TLS_1_3, "", "expired certificate"),
    "not-yet-valid": ({"days": (1, 3)}, TLS_1_3, "", "certificate not yet valid"),
    "unknown-issuer": ({}, TLS_1_3, 'ca_file = "STRANGER"', "unknown issuer"),
    "other-key": ({}, TLS_1_3, f'pinned_keys = ["sha256//{"A" * 43}="]', "key that is not pinned"),
    "no-certificate-1-2": ({"demands_certificate": True}, TLS_1_2, "", "client certificate missing"),
    "no-certificate-1-3": ({"demands_certificate": True}, TLS_1_3, "", "client certificate missing"),
    "refused-certificate": (
        {"demands_certificate": True},
        TLS_1_3,
        'client_cert_file = "CERTIFICATE"\nclient_key_file = "KEY"',
        "client certificate refused",
    ),
}


def configured(name, url, files, options):
    text = UPSTREAM.replace("NAME", name).replace("URL", url)
    ca_file = str(files["CA"])
    for word, file in files.items():
        options = options.replace(word, str(file))
    if options.startswith("ca_file"):
        ca_file, options = options.split('"')[1], ""
    return f"{text.replace('CA', ca_file)}{options}\n"


@pytest.fixture(scope="module")
def running(make_shared_daemon, tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificates")
    authority, stranger = Authority(directory), Authority(directory, "stranger")
    certificate, key = stranger.issue("kiosk-17")
    files = {
        "STRANGER": stranger.file,
        "CERTIFICATE": certificate,
        "KEY": key,
        "CA": authority.file,
    }
    with ExitStack() as upstreams:
        config, servers = LISTENERS, {}
        for name, (server, version, options, _) in CASES.items():
            tls = authority.server(**server)
            tls.minimum_version = tls.maximum_version = version
            servers[name] = upstreams.enter_context(Upstream(tls=tls))
            config += configured(name, servers[name].url, files, options)
        daemon = make_shared_daemon(config).start()
        event = {"timestamp": 1, "sourceId": "till", "eventName": "sold", "text": "x" * 10_000}
        with Client(daemon.socket) as client:
            reply = client.ask(
                "POST",
                "/v1/events",
                json.dumps([event] * 20).encode(),
                {"Content-Type": "application/json", "X-Samsara-publishedTimestamp": "1"},
            )
        assert reply.status == 202
        yield daemon, servers
        daemon.stop()


def lane(daemon, name):
    return next(lane for lane in daemon.status()["lanes"] if lane["name"] == f"{name}/samsara")


@pytest.mark.system
@pytest.mark.parametrize(("name", "told"), [(name, told) for name, (*_, told) in CASES.items()])
def test_each_lack_of_trust_blocks_its_lane_and_is_told_everywhere(running, name, told):
    daemon, servers = running
    cause = f"no trust in the connection, {told}"
    until(lambda: lane(daemon, name)["state"] == "blocked", f"{name} is blocked")
    status = daemon.status()
    assert lane(daemon, name)["reason"].startswith(f"{cause}: ")
    assert total(status, "pending", lane=name) == 20
    assert unbalanced(status) == []
    assert servers[name].received == []
    metrics = daemon.ask("/metrics").body.decode().splitlines()
    assert f'waystation_lane_reason{{lane="{name}/samsara",reason="{cause}"}} 1.0' in metrics
    told_of = [line for line in daemon.log().splitlines() if f"{name}/samsara" in line]
    assert any("lane_blocked" in line and cause in line for line in told_of)


@pytest.mark.system
def test_no_two_lacks_of_trust_are_told_alike(running):
    daemon, _ = running
    for name in CASES:
        until(lambda name=name: lane(daemon, name)["state"] == "blocked", f"{name} is blocked")
    causes = {lane["reason"].partition(":")[0] for lane in daemon.status()["lanes"]}
    assert len(causes) == len({told for *_, told in CASES.values()})
