"""What its unit forbids does not keep the daemon from its work; each kind of package, under systemd."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from fakes.certificates import Authority
from fakes.daemon import until
from fakes.packages import EVENT, Deb, Rpm, configure, drop_in, send, status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.machine import Machine

pytestmark = pytest.mark.system

UPSTREAMS = Path(__file__).resolve().parents[1] / "fakes/machine_upstream.py"

CONFIG = """
[[upstream]]
name = "public"
kind = "samsara"
url = "https://ingest.public.test:8443/v1/events"
signing = "rfc9421"
key_id = "kiosk-17"
key_credential = "waystation_device.pem"

[[upstream]]
name = "site"
kind = "samsara"
url = "https://ingest.site.test:8444/v1/events"
ca_file = "/run/credentials/waystation.service/waystation_site.pem"
signing = "rfc9421"
key_id = "site-3"
secret_credential = "waystation_site.secret"
"""

TILL = """
[[listener]]
bind = "unix:/run/waystation/till.sock"
group = "waystation"
allow_users = ["till"]
"""

TILL_SOCKET = """
[Socket]
ListenStream=/run/waystation/till.sock
SocketGroup=tills
SocketMode=0660
Service=waystation.service
"""


class Serving:
    """What the receivers took, known at the end of their block."""

    took: dict[str, dict[str, Any]]


@contextmanager
def serving(machine: Machine, said: dict[str, dict[str, object]]) -> Iterator[Serving]:
    """Receivers on the machine's loopback, with a name server."""
    machine.inside("/etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    process = subprocess.Popen(
        [*machine.entering("--net"), sys.executable, str(UPSTREAMS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = Serving()
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{json.dumps(said)}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "serving\n"
        yield found
    finally:
        told, _ = process.communicate()
    found.took = json.loads(told)


def certified(authority: Authority, name: str, port: int, **more: object) -> dict[str, object]:
    certificate, key = authority.issue(name)
    return {"certificate": str(certificate), "key": str(key), "port": port, **more}


def delivered(machine: Machine) -> bool:
    lanes = [lane for lane in status(machine)["lanes"] if lane["upstream"] in {"public", "site"}]
    return len(lanes) == 2 and all(lane["pending_events"] == 0 for lane in lanes)


@pytest.mark.parametrize(
    ("kind", "trusted"),
    [(Deb, "/etc/ssl/certs/ca-certificates.crt"), (Rpm, "/etc/pki/tls/certs/ca-bundle.crt")],
    ids=["deb", "rpm"],
)
def test_it_delivers_with_tls_names_and_credentials_and_a_spool_elsewhere(machine, tmp_path, kind, trusted):
    machine.run(*kind.install(1))
    public, site = Authority(tmp_path, "public"), Authority(tmp_path, "site")
    store = machine.inside(trusted)
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_bytes(public.file.read_bytes())
    device = Ed25519PrivateKey.generate()
    credentials = {
        "device.pem": device.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "site.secret": b"geheim\n",
        "site.pem": site.file.read_bytes(),
    }
    for name, content in credentials.items():
        path = machine.inside(f"/etc/waystation/credentials/{name}")
        path.write_bytes(content)
        path.chmod(0o600)
    machine.run("install", "-d", "-o", "waystation", "-g", "waystation", "-m", "0700", "/srv/events")
    drop_in(machine, "ReadWritePaths=/srv/events")
    config = machine.inside("/etc/waystation/config.toml")
    config.write_text(config.read_text("utf-8").replace("/var/lib/waystation", "/srv/events", 1))
    public_key = device.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    receivers = {
        "public": certified(public, "ingest.public.test", 8443, key_id="kiosk-17", public_key=public_key),
        "site": certified(site, "ingest.site.test", 8444, key_id="site-3", secret="geheim"),
    }
    with serving(machine, receivers) as receiving:
        configure(machine, CONFIG)
        assert send(machine) == "1 event accepted\n"
        until(lambda: delivered(machine), "both have it", within=120.0)
    for took in receiving.took.values():
        assert [event["eventName"] for lane in took["lanes"] for event in lane["events"]] == ["sold"]
        assert took["problems"] == []
    assert machine.inside("/srv/events/spool.db").exists()
    machine.run("systemd-analyze", "security", "--threshold=12", "waystation.service")
    assert machine.shows("waystation", "NRestarts") == "0"


def test_it_knows_its_clients_and_gives_its_sockets_to_its_own_group_alone(machine):
    machine.run(*Deb.install(1))
    for user in ("till", "other"):
        machine.run("useradd", "--create-home", "--groups", "waystation", user)
    machine.run("groupadd", "tills")
    machine.run("usermod", "--append", "--groups", "tills", "till")

    def at_the_till(user: str) -> str:
        socket = ("--socket", "/run/waystation/till.sock")
        return machine.run("waystation", "send", *socket, user=user, stdin=EVENT, check=False)

    configure(machine, TILL)
    assert at_the_till("till") == "1 event accepted\n"
    assert "Your user may not use this socket" in at_the_till("other")

    # Another group is refused in words that help, and the way that they name works.
    config = machine.inside("/etc/waystation/config.toml")
    config.write_text(config.read_text("utf-8").replace(TILL, TILL.replace('"waystation"', '"tills"')))
    machine.run("systemctl", "restart", "waystation", check=False)
    told = machine.run("journalctl", "--no-pager", "--unit=waystation")
    assert "cannot listen on unix:/run/waystation/till.sock: `group` may not have it" in told
    assert "SocketGroup=" in told
    machine.inside("/etc/systemd/system/waystation-till.socket").write_text(TILL_SOCKET, encoding="utf-8")
    drop_in(machine, "Sockets=waystation-till.socket")
    machine.run("systemctl", "stop", "waystation")
    machine.run("systemctl", "start", "waystation-till.socket", "waystation")
    assert at_the_till("till") == "1 event accepted\n"
    assert machine.run("stat", "--format=%G", "/run/waystation/till.sock") == "tills\n"


def test_a_spool_that_may_not_be_written_to_is_told_with_what_to_do(machine):
    machine.run(*Deb.install(1))
    config = machine.inside("/etc/waystation/config.toml")
    config.write_text(config.read_text("utf-8").replace("/var/lib/waystation", "/srv/events", 1))
    machine.run("systemctl", "restart", "waystation", check=False)
    told = machine.run("journalctl", "--no-pager", "--unit=waystation")
    assert "ReadWritePaths=" in told
