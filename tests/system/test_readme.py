"""README's examples, run as they stand, but for the port: 9000 may be in use here."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fakes.daemon import LISTENERS, until

if TYPE_CHECKING:
    from fakes.daemon import Daemon

pytestmark = pytest.mark.system

README = Path(__file__).resolve().parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def daemon(make_daemon) -> Daemon:
    return make_daemon(LISTENERS).start()


def example(daemon: Daemon, script: str) -> str:
    """Run one as a shell would where the daemon was installed."""
    ported = script.replace("localhost:9000", f"localhost:{daemon.ports()[0]}")
    path = f"{daemon.command.parent}:{daemon.variables['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", ported],
        env={**daemon.variables, "PATH": path},
        cwd=daemon.directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_each_example_of_the_readme_does_what_it_says(daemon):
    samsara, traintracks, send, status, service = blocks("sh")

    assert example(daemon, samsara).startswith("HTTP/1.1 202 ")
    answer = example(daemon, traintracks)
    assert answer.startswith("HTTP/1.1 200 ")
    assert '"warnings"' not in answer
    example(daemon, send)

    def delivered() -> list[int]:
        return sorted(row["delivered"] for row in daemon.status()["ledger"])

    until(lambda: delivered() == [1, 2], "all three events are in the files")
    table = example(daemon, status)
    assert "file/samsara" in table
    assert "healthy" in table
    assert "would run systemctl" in example(daemon, service)


def test_the_configuration_of_the_readme_is_valid_once_its_files_are_there(make_daemon):
    configuration = blocks("toml")
    assert len(configuration[0].splitlines()) == 10
    assert configuration[0].count("[[upstream]]") == 1
    daemon = make_daemon("\n".join(configuration))
    key = Ed25519PrivateKey.generate()
    daemon.secret("device.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    daemon.secret("product.secret", b"secret")

    checked = daemon.run("config", "check")

    assert checked.returncode == 0, checked.stdout
    for alone in configuration:
        daemon.configure(alone)
        checked = daemon.run("config", "check")
        assert checked.returncode == 0, checked.stdout
