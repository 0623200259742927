"""The documents' indented blocks: what is watched, and synopses, in each form that they allow."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fakes.daemon import LISTENERS, PATIENCE, Client, until
from fakes.markdown import DOCUMENTS, every_block
from fakes.upstream import Behaviour, Upstream

pytestmark = pytest.mark.system

JSON = {"Content-Type": "application/json"}
EVENT = b'[{"timestamp":1433004485870,"sourceId":"till-4","eventName":"sold"}]'
REMOTE = """
[[upstream]]
name = "samsara"
kind = "samsara"
url = "%s"
signing = "none"
backoff = { initial = "20ms", max = "200ms" }
"""
GONE = """
[[upstream]]
name = "gone"
kind = "samsara"
url = "http://127.0.0.1:9"
signing = "none"
"""
SYNOPSES = {
    "open [--print]": ["open --print"],
    "upstream list [--json]": ["upstream list", "upstream list --json"],
    "upstream test NAME": ["upstream test samsara"],
    "upstream pause NAME": ["upstream pause samsara"],
    "upstream resume NAME": ["upstream resume samsara"],
    "upstream flush NAME [--wait 30]": ["upstream flush samsara", "upstream flush samsara --wait 30"],
    "upstream bury NAME": ["upstream bury samsara"],
    "upstream forget NAME [--yes]": ["upstream forget gone --yes"],
    "dead-letters list [--lane LANE] [--limit 100] [--json]": [
        "dead-letters list",
        "dead-letters list --lane samsara/samsara --limit 100 --json",
    ],
    "dead-letters show 17": ["dead-letters show {}"],
    "dead-letters export [--lane LANE] > letters.ndjson": [
        "dead-letters export",
        "dead-letters export --lane samsara/samsara",
    ],
    "dead-letters replay 17 18 | --lane LANE | --all [--yes]": [
        "dead-letters replay {} {}",
        "dead-letters replay --lane samsara/samsara --yes",
        "dead-letters replay --all --yes",
    ],
    "dead-letters purge 17 18 | --lane LANE | --all [--yes]": [
        "dead-letters purge {} {} --yes",
        "dead-letters purge --lane samsara/samsara --yes",
        "dead-letters purge --all --yes",
    ],
}
"""What each line of a synopsis allows, in the order of the documents; `{}` is a dead letter that there is."""

NOTHING_TO_DO = {"upstream bury samsara": "no event holds a lane of samsara up"}
"""What these say, and that they exit with 1; all others succeed."""


def blocks(first: str) -> list[str]:
    """The indented blocks that begin like this."""
    found = [
        block.text
        for document in DOCUMENTS
        for block in every_block(document)
        if block.kind == "indented" and block.text.startswith(first)
    ]
    assert found, first
    return found


def post(daemon, body=EVENT):
    with Client(daemon.socket) as client:
        assert client.ask("POST", "/v1/events", body, JSON).status == 202
    return True


def answered(daemon, command):
    done = daemon.run(*command.split())
    assert done.returncode == 0, f"{command}\n{done.stdout.decode()}\n{done.stderr.decode()}"
    return done.stdout.decode()


def test_what_is_watched_shows_something_and_ends_by_ctrl_c(make_daemon):
    daemon = make_daemon(LISTENERS).start()
    output = daemon.home / "watched"
    for command in ("waystation tail", "waystation top"):
        (block,) = {text.strip() for text in blocks(command)}
        with (
            output.open("wb") as file,
            subprocess.Popen(
                [daemon.command, *block.split()[1:]],
                cwd=daemon.directory,
                env={**daemon.variables, "PYTHONUNBUFFERED": "1"},
                stdout=file,
                stderr=subprocess.STDOUT,
            ) as watching,
        ):
            try:
                until(lambda: post(daemon) and output.stat().st_size, f"{block} shows something")
                watching.send_signal(signal.SIGINT)
                assert watching.wait(PATIENCE) == 130
            finally:
                watching.kill()
        assert b"Traceback" not in output.read_bytes()


def test_each_form_of_a_synopsis_does_what_it_says(make_daemon):
    lines = [
        line.removeprefix("waystation ")
        for first in ("waystation open", "waystation upstream list", "waystation dead-letters list")
        for block in blocks(first)
        for line in block.splitlines()
    ]
    assert lines == list(SYNOPSES)
    with Upstream() as upstream:
        remote = LISTENERS + REMOTE % upstream.url
        remote += '[admin]\nbind = ["unix:$admin", "127.0.0.1:0"]\n'
        daemon = make_daemon(remote + GONE)
        daemon.start()
        letters = buried(daemon, upstream)
        daemon.configure(remote)
        with Client(daemon.admin) as client:
            assert client.ask("POST", "/v1/reload").status == 200
        for command in (form for forms in SYNOPSES.values() for form in forms):
            if command in NOTHING_TO_DO:
                done = daemon.run(*command.split())
                assert (done.returncode, done.stdout.decode().strip()) == (1, NOTHING_TO_DO[command])
                continue
            answered(daemon, command.format(*letters))
            if "replay" in command or "purge" in command:
                letters = buried(daemon, upstream)
        assert daemon.stop() == 0


def buried(daemon, upstream):
    """Have two events refused; returns the numbers of their dead letters."""
    before = numbers(daemon)
    for _ in range(2):
        until(lambda: not waiting(daemon), "the upstream has answered")
        upstream.script(Behaviour(status=400))
        post(daemon)
    until(lambda: len(numbers(daemon) - before) == 2, "both are dead")
    return sorted(numbers(daemon) - before)


def numbers(daemon):
    with Client(daemon.admin) as client:
        return {letter["id"] for letter in json.loads(client.ask("GET", "/v1/dead-letters").body)["letters"]}


def waiting(daemon):
    return sum(lane["pending_events"] for lane in daemon.status()["lanes"] if lane["upstream"] == "samsara")


def test_each_verb_of_the_service_command_says_what_it_would_do(make_daemon):
    ((line,),) = [block.splitlines() for block in blocks("waystation service")]
    verbs = line.removeprefix("waystation service ").partition("    ")[0].split(" | ")
    assert set(verbs) == {"install", "uninstall", "start", "stop", "status", "logs"}
    daemon = make_daemon(LISTENERS)
    for verb in verbs:
        done = daemon.run("service", verb, "--user", "--dry-run")
        # Nothing is installed here, which some of them need.
        told = done.stdout + done.stderr
        assert (done.returncode, b"not installed" in told) in {(0, False), (1, True)}, told
        assert done.returncode == 0 or verb not in {"install", "uninstall"}, told


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_pin_is_made_and_taken_as_the_page_says(make_daemon):
    (block,) = blocks("openssl x509")
    daemon = make_daemon(LISTENERS)
    make = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=upstream"]
    make += ["-keyout", "upstream.key", "-out", "upstream.pem"]
    subprocess.run(make, cwd=daemon.directory, check=True, capture_output=True)
    shell = ["bash", "-euo", "pipefail", "-c", block]
    made = subprocess.run(shell, cwd=daemon.directory, check=True, capture_output=True, text=True)
    pin = f"sha256//{made.stdout.strip()}"
    assert re.fullmatch(r"sha256//[A-Za-z0-9+/]{43}=", pin)
    daemon.configure(
        LISTENERS + GONE.replace("http://127.0.0.1:9", "https://a.example") + f'pinned_keys = ["{pin}"]\n'
    )
    answered(daemon, "config check")


def test_a_credential_is_put_in_place_and_found(make_daemon):
    (install,) = blocks("install -m 600")
    (key,) = blocks("key_credential")
    daemon = make_daemon(LISTENERS)
    credentials = daemon.home / "credentials"
    credentials.mkdir()
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (daemon.directory / "device.pem").write_bytes(pem)
    here = install.replace("/etc/waystation/credentials/", f"{credentials}/")
    subprocess.run(["bash", "-euc", here], cwd=daemon.directory, check=True)
    # As systemd's LoadCredential= of a directory does: its name, an underscore, the file's.
    (credentials / "device.pem").rename(credentials / "waystation_device.pem")
    daemon.environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    signed = f'signing = "rfc9421"\nkey_id = "kiosk-17"\n{key}'
    daemon.configure(LISTENERS + GONE.replace('signing = "none"\n', signed))
    answered(daemon, "config check")


def test_the_headers_of_a_batch_are_those_that_the_page_shows(make_daemon):
    (shown,) = [text for text in blocks("Idempotency-Key") if "…" not in text]
    with Upstream() as upstream:
        daemon = make_daemon(LISTENERS + REMOTE % upstream.url).start()
        post(daemon)
        daemon.forwarded()
        (request,) = upstream.received
    for line in shown.splitlines():
        name, _, value = line.partition(": ")
        sent = request.header(name)
        assert form(sent) == form(value), name


def form(value):
    """A header's value, but for what differs from batch to batch."""
    return re.sub(r"\d+", "N", re.sub(r'"[0-9a-f]{16,}"', lambda found: f'"{len(found[0])}"', value))
