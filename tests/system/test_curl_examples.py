"""The documents' own examples, run by a shell as a newcomer would paste them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fakes import documents
from fakes.daemon import LISTENERS, PATIENCE, until
from fakes.delivery import bare, elements
from fakes.upstream import Upstream

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

PRODUCT = documents.TRAINTRACKS_PRODUCT
SECRET = 'it\'s \\ a "secret" with $HOME'

TRAINTRACKS_POST = r"""
AUTH=$( (cat batch.json; printf %s "$SECRET") | md5sum | cut -d' ' -f1 )
curl -i -H "Content-Type: application/json;charset=utf-8" \
     -H "X-Product-Key: $PRODUCT" -H "X-Product-Auth: $AUTH" -H "Remote-Address: 203.0.113.9" \
     -XPOST "http://localhost:9000/v1/events" --data-binary @batch.json
"""
"""What Traintracks' document says in words."""


def shell(script: str, directory: Path, **environ: str) -> tuple[int, str]:
    """The status and the body that a script's one curl got."""
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=directory,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(directory), **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    return int(head.split()[1]), body


@pytest.fixture
def post_traintracks(tmp_path):
    """Posts the document's batch with a secret, by the script as it stands or one made of it."""
    (tmp_path / "batch.json").write_text(documents.TRAINTRACKS_BATCH)

    def post(secret, script=TRAINTRACKS_POST):
        return shell(script, tmp_path, PRODUCT=PRODUCT, SECRET=secret)

    return post


@pytest.fixture(scope="module")
def newcomer(make_shared_daemon):
    """A daemon without any configuration, on port 9000."""
    try:
        socket.create_connection(("localhost", 9000), timeout=5).close()
    except OSError:
        pass
    else:
        pytest.skip("port 9000 is in use by another program")
    if Path("/etc/waystation/config.toml").exists():
        pytest.skip("this machine has a configuration of its own")
    return make_shared_daemon().start()


def written(daemon, dialect):
    """What has come out at the other end of a daemon without configuration."""
    files = sorted((daemon.state_dir / "events").glob("*.ndjson"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [line for line in lines if line["dialect"] == dialect]


@pytest.mark.parametrize("example", ["SAMSARA_PLAIN", "SAMSARA_GZIP"])
def test_samsaras_events_as_written_go_all_the_way_with_no_configuration(newcomer, tmp_path, example):
    before = len(written(newcomer, "samsara"))
    assert shell(getattr(documents, example), tmp_path) == (202, "")
    lines = until(lambda: written(newcomer, "samsara")[before:], "the events are in a file")
    events = [line["event"] for line in lines]
    assert [event["eventName"] for event in events] == ["user.item.added", "user.item.removed"]
    assert events[1]["item"] == "sku-5433"
    assert all(event["receivedAt"] > event["publishedAt"] - 1000 for event in events)


@pytest.mark.usefixtures("newcomer")
def test_samsaras_status_examples_work_as_written(tmp_path):
    get, put = documents.SAMSARA_GET_STATUS, documents.SAMSARA_PUT_STATUS
    status, body = shell(get, tmp_path)
    assert (status, json.loads(body)) == (200, {"status": "online"})
    assert shell(put, tmp_path) == (200, "")
    status, body = shell(get, tmp_path)
    assert (status, json.loads(body)) == (503, {"status": "offline"})
    # Offline is what load balancers are told, and nothing more.
    assert shell(documents.SAMSARA_PLAIN, tmp_path) == (202, "")
    assert shell(put.replace("offline", "online"), tmp_path) == (200, "")
    assert shell(get, tmp_path)[0] == 200


def test_traintracks_example_goes_all_the_way_with_no_configuration(newcomer, post_traintracks):
    assert post_traintracks("nobody here knows any") == (200, '{"status":"OK"}')
    lines = until(lambda: written(newcomer, "traintracks"), "the events are in a file")
    assert [line["event"]["eventType"] for line in lines] == ["sword_battle", "store_purchase"]
    assert {(line["product"], line["remoteAddress"]) for line in lines} == {(PRODUCT, "203.0.113.9")}


def undated(event: str) -> str:
    """A Samsara example's event without the time at which it was run."""
    return re.sub(r'"timestamp": (?:\$\(date \+%s000\)|\d{13}),', '"timestamp": NOW,', event)


def test_documents_events_arrive_upstream_signed_and_unaltered(make_daemon, tmp_path, post_traintracks):
    key = Ed25519PrivateKey.generate()
    with Upstream(keys={"kiosk-17": key.public_key()}, products={PRODUCT: SECRET}) as upstream:
        daemon = make_daemon(f"""{LISTENERS}
[[product]]
key = "{PRODUCT}"
secret_file = "product.secret"

[[upstream]]
name = "samsara"
kind = "samsara"
url = "{upstream.url}"
signing = "rfc9421"
key_id = "kiosk-17"
key_file = "device.pem"

[[upstream]]
name = "traintracks"
kind = "traintracks"
url = "{upstream.url}"
""")
        daemon.secret("product.secret", SECRET.encode())
        daemon.secret("device.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (port,) = daemon.start().ports()

        def here(script: str) -> str:
            return script.replace("localhost:9000", f"127.0.0.1:{port}")

        assert shell(here(documents.SAMSARA_GZIP), tmp_path) == (202, "")
        assert post_traintracks(SECRET, here(TRAINTRACKS_POST)) == (200, '{"status":"OK"}')
        status, body = post_traintracks("another", here(TRAINTRACKS_POST))
        assert (status, json.loads(body)["status"]) == (401, "ERROR")
        daemon.forwarded()

    by_product = {request.header("X-Product-Key"): request for request in upstream.received}
    samsara, traintracks = by_product[None], by_product[PRODUCT]
    assert [request.problems for request in upstream.received] == [(), ()]
    assert upstream.book.problems == []
    assert samsara.header("Signature") is not None
    sent = documents.SAMSARA_GZIP[documents.SAMSARA_GZIP.index("[\n") :].partition("EOF")[0]
    sent = sent.replace("$(date +%s000)", "1433004485870")
    arrived = [undated(bare(event)) for event in elements(samsara.content.decode())]
    assert arrived == [undated(event) for event in elements(sent)]
    assert traintracks.header("X-Product-Auth") == hashlib.md5(traintracks.body + SECRET.encode()).hexdigest()
    assert traintracks.header("Remote-Address") == "203.0.113.9"
    arrived = [bare(event) for event in elements(traintracks.content.decode())]
    assert arrived == elements(documents.TRAINTRACKS_BATCH)
