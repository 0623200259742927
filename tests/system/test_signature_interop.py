"""What HttpSender sends, verified by an implementation in another language."""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from fakes.forwarding import make_batch, make_body, sending
from fakes.upstream import Upstream

from collector.core.verdict import Delivered

NODE = Path(__file__).parent / "node"

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (NODE / "node_modules").is_dir(),
        reason="tests/system/node/node_modules is missing: run npm ci there",
    ),
]

ED25519 = Ed25519PrivateKey.generate()
PRIVATE_PEM = ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC_PEM = ED25519.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
SECRET = "correct horse battery staple"


def now():
    return datetime.now(UTC).timestamp()


async def captured(algorithm, **batch):
    """A request as it came, and the key that it was signed with."""
    if algorithm == "ed25519":
        options, environ, key = {"key_env": "KEY"}, {"KEY": PRIVATE_PEM}, PUBLIC_PEM
    else:
        options, environ, key = {"secret_env": "KEY"}, {"KEY": SECRET}, b64encode(SECRET.encode()).decode()
    options |= {"signing": "rfc9421", "key_id": "kiosk-17"}
    with Upstream() as fake:
        async with sending(url=f"{fake.url}?site=7%2F1", wall=now, environ=environ, **options) as sender:
            outcome = await sender.attempt(make_batch(**batch), make_body())
    assert outcome.verdict == Delivered()
    request = fake.received[0]
    return {
        "method": request.method,
        "url": request.url,
        "headers": dict(request.headers),
        "body": b64encode(request.body).decode(),
        "algorithm": algorithm,
        "key_id": "kiosk-17",
        "key": key,
    }


def verified(request):
    """Whether node finds it good, and what it says where not."""
    told = subprocess.run(
        ["node", "verify.mjs"],
        input=json.dumps(request),
        cwd=NODE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return told.returncode == 0, told.stderr.strip()


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "ed25519"])
@pytest.mark.parametrize("replaces", [None, "77" * 16])
async def test_the_npm_package_finds_our_signatures_good(algorithm, replaces):
    assert verified(await captured(algorithm, replaces=replaces)) == (True, "")


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "ed25519"])
async def test_the_npm_package_finds_changed_requests_bad(algorithm):
    request = await captured(algorithm)
    headers = request["headers"]
    moved = headers["Waystation-Batch"].replace("first=0", "first=2")
    changes = [
        {"url": request["url"].replace("7", "8")},
        {"method": "PUT"},
        {"body": b64encode(b64decode(request["body"]) + b" ").decode()},
        {"key_id": "kiosk-18"},
        {"headers": headers | {"Idempotency-Key": '"0"'}},
        {"headers": headers | {"Waystation-Batch": moved}},
    ]
    for change in changes:
        good, told = verified(request | change)
        assert not good, change
        assert told
