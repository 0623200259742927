"""No secret is where it should not be: not in logs, answers, metrics, crash output or the spool."""

from __future__ import annotations

import base64
import hashlib
import json
import signal
import stat
import tarfile

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fakes.certificates import Authority
from fakes.daemon import Client, until

pytestmark = pytest.mark.system

PRODUCT = "a32e6578-17b7-11e4-930a-bc764e1c05e4"
PLANTED = {
    "product.secret": b"planted-product-secret-8d1f",
    "hmac.secret": b"planted-shared-secret-77aa",
    "admin.secret": b"planted-admin-token-0c3e",
    "listener.secret": b"planted-listener-token-52bd",
    "next-product.secret": b"planted-product-next-e6a0",
    "next-hmac.secret": b"planted-shared-next-19cc",
}
SHOWN = b"planted-token-that-is-wrong-3b7f"
"""What a client shows that has no business here."""
IN_PROXY = "planted-proxy-password-d00d"
IN_URL = "planted-url-password-41b9"
IN_QUERY = "planted-query-key-9f20"

CONFIG = f"""
[[listener]]
bind = "unix:$socket"
auth = "required"

[[listener]]
bind = "unix:$home/guarded.sock"
token_file = "listener.secret"

[admin]
bind = ["unix:$admin", "127.0.0.1:0"]
token_file = "admin.secret"

[log]
level = "debug"

[[product]]
key = "{PRODUCT}"
secret_file = "product.secret"
next_secret_file = "next-product.secret"

[[upstream]]
name = "samsara"
kind = "samsara"
url = "http://user:{IN_URL}@127.0.0.1:9/v1/events?key={IN_QUERY}"
signing = "rfc9421"
key_id = "kiosk"
secret_file = "hmac.secret"
next = {{ secret_file = "next-hmac.secret" }}

[[upstream]]
name = "tt"
kind = "traintracks"
url = "http://user:{IN_URL}@127.0.0.1:9/v1/events?key={IN_QUERY}"

[[upstream]]
name = "mutual"
kind = "samsara"
url = "https://127.0.0.1:9/v1/events"
signing = "rfc9421"
key_id = "kiosk"
key_file = "signing.pem"
client_cert_file = "$home/client.pem"
client_key_file = "client.key"
proxy = "http://user:{IN_PROXY}@127.0.0.1:9"
"""

EVENT_NAME = b"till.drawer.opened.4a1c"
SAMSARA = b'[{"timestamp":1433004485870,"sourceId":"till","eventName":"%b"}]' % EVENT_NAME
TRAINTRACKS = json.dumps(
    [{"clientTimestamp": "2012-03-14T02:33:42.416587-07:00", "eventType": "load", "data": {}}]
).encode()


def bundled(daemon, name, *options):
    """What is in a support bundle that is made now."""
    made = daemon.run("support-bundle", "-o", str(daemon.home / name), *options)
    assert made.returncode == 0, made.stderr
    assert stat.S_IMODE((daemon.home / name).stat().st_mode) == 0o600
    with tarfile.open(daemon.home / name) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive.getmembers()}
    told = b"\n".join(files.values())
    assert b"README" in b"".join(name.encode() for name in files)
    return [made.stdout, made.stderr, told]


def told_by_commands(daemon):
    """What commands print that look at upstreams."""
    tried = [daemon.run("upstream", "test", name) for name in ("samsara", "tt", "mutual")]
    assert [done.returncode for done in tried] == [1, 1, 1]
    looked = [daemon.run("doctor"), daemon.run("upstream", "list", "--json"), daemon.run("drain")]
    return [text for done in (*tried, *looked) for text in (done.stdout, done.stderr)]


def crashed(daemon):
    """The log behind a crash, with the interpreter's own report."""
    daemon.signal(signal.SIGABRT)
    assert daemon.wait() == -signal.SIGABRT
    assert "Fatal Python error" in daemon.log()
    return daemon.log().encode()


def plant(daemon):
    """Put all secrets in place, a key to sign with and a client's among them; returns the keys' own lines."""
    for name, content in PLANTED.items():
        daemon.secret(name, content)
    _, client = Authority(daemon.home).issue("client")
    daemon.secret("client.key", client.read_bytes())
    client.unlink()
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    daemon.secret("signing.pem", pem)
    files = (daemon.config_file.with_name(name) for name in ("client.key", "signing.pem"))
    return [
        line for file in files for line in file.read_bytes().splitlines() if not line.startswith(b"-----")
    ]


def test_planted_secrets_are_nowhere(make_daemon):
    daemon = make_daemon(PYTHONFAULTHANDLER="1", WAYSTATION_DEBUG="1")
    keys = plant(daemon)
    daemon.configure(CONFIG)
    daemon.start()
    seen: list[bytes] = []

    def ask(address, method, path, body=None, **headers):
        with Client(address) as client:
            reply = client.ask(
                method, path, body, {name.replace("_", "-"): text for name, text in headers.items()}
            )
        seen.extend((repr(reply.headers).encode(), reply.body))
        return reply.status

    json_type = {"Content_Type": "application/json"}
    secret = PLANTED["product.secret"]
    good = hashlib.md5(TRAINTRACKS + secret).hexdigest()
    assert ask(daemon.socket, "POST", "/v1/events", SAMSARA, **json_type) == 202
    signed = {"X_Product_Key": PRODUCT, **json_type}
    assert ask(daemon.socket, "POST", "/v1/events", TRAINTRACKS, X_Product_Auth=good, **signed) == 200
    assert ask(daemon.socket, "POST", "/v1/events", TRAINTRACKS, X_Product_Auth="0" * 32, **signed) == 401
    with_token = {"Authorization": f"Bearer {SHOWN.decode()}", **json_type}
    assert ask(daemon.home / "guarded.sock", "POST", "/v1/events", SAMSARA, **with_token) == 401
    good = f"Bearer {PLANTED['listener.secret'].decode()}"
    assert (
        ask(daemon.home / "guarded.sock", "POST", "/v1/events", SAMSARA, Authorization=good, **json_type)
        == 202
    )
    until(lambda: {lane["state"] for lane in daemon.status()["lanes"]} == {"retrying"}, "all lanes fail")
    (port,) = daemon.ports()
    token = f"Bearer {PLANTED['admin.secret'].decode()}"
    for path in ("/v1/status", "/v1/lanes", "/metrics", "/v1/dead-letters"):
        assert ask(port, "GET", path, Authorization=token) == 200
    assert ask(port, "GET", "/v1/status", Authorization=f"Bearer {SHOWN.decode()}") == 401
    seen += told_by_commands(daemon)
    broken = CONFIG.replace('kind = "samsara"', f'kind = "samsara"\ncolour = "{IN_URL}"')
    daemon.configure(broken)
    assert ask(daemon.admin, "POST", "/v1/reload") == 409
    seen += [daemon.run("config", "check").stderr, daemon.run("status").stdout]
    daemon.configure(CONFIG)
    assert ask(daemon.admin, "POST", "/v1/reload") == 200
    seen.append(daemon.run("config", "show").stdout)
    seen += bundled(daemon, "running.tar.gz")
    seen.append(crashed(daemon))
    daemon.configure(broken)
    seen += bundled(daemon, "broken.tar.gz")
    daemon.configure(CONFIG)
    seen += bundled(daemon, "stopped.tar.gz", "--log", str(daemon.log_file))
    told = b"\n".join(seen)
    assert EVENT_NAME not in told
    seen += [file.read_bytes() for file in daemon.state_dir.rglob("*") if file.is_file()]
    everything = b"\n".join(seen)
    assert b"lane_retrying" in everything
    assert EVENT_NAME in everything
    urls = (IN_URL.encode(), IN_QUERY.encode(), IN_PROXY.encode())
    for planted in (*PLANTED.values(), *keys, *urls, SHOWN):
        for shape in (planted, base64.b64encode(planted).rstrip(b"="), planted.hex().encode()):
            assert shape not in everything, planted
