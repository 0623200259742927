"""The documents' command and configuration blocks, run as they stand, but for addresses."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import subprocess
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fakes.daemon import LISTENERS
from fakes.markdown import DOCUMENTS, blocks, name_of

pytestmark = pytest.mark.system

# README's have a test of their own, which looks at what they answer.
SCRIPTED = [document for document in DOCUMENTS[1:] if blocks(document, "sh")]
TOOLS = ("bash", "curl", "openssl", "tar")
needs_tools = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason=f"one of {', '.join(TOOLS)} is not installed"
)


def run(daemon, script: str) -> subprocess.CompletedProcess[str]:
    """Run a block as a shell would where the daemon was installed."""
    here = {
        "localhost:9000": f"localhost:{daemon.ports()[0]}",
        "/run/waystation/waystation.sock": str(daemon.socket),
        "/run/waystation/admin.sock": str(daemon.admin),
    }
    for there, address in here.items():
        script = script.replace(there, address)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={**daemon.variables, "PATH": f"{daemon.command.parent}:{daemon.variables['PATH']}"},
        cwd=daemon.directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@needs_tools
@pytest.mark.parametrize("document", SCRIPTED, ids=name_of)
def test_the_commands_of_a_document_work_one_after_the_other(make_daemon, document):
    daemon = make_daemon(LISTENERS).start()
    for block in blocks(document, "sh"):
        done = run(daemon, block)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        assert "this is a bug" not in done.stderr


def test_the_configurations_of_the_documents_are_valid_once_their_files_are_there(make_daemon):
    found = [(name_of(document), block) for document in DOCUMENTS for block in blocks(document, "toml")]
    assert found
    daemon = make_daemon(LISTENERS)
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for name, block in found:
        for secret in re.findall(r'(?:key|secret|token)_file = "([\w.]+)"', block):
            daemon.secret(secret, key)
        daemon.config_file.write_text(block, encoding="utf-8")
        checked = daemon.run("config", "check")
        assert checked.returncode == 0, f"{name}:\n{block}\n{checked.stdout.decode()}"


@needs_tools
def test_what_getting_started_shows_is_what_comes_of_it(make_daemon):
    document = next(document for document in DOCUMENTS if document.name == "getting-started.md")
    daemon = make_daemon(LISTENERS).start()
    shell = partial(run, daemon)
    send, post, look, *_ = blocks(document, "sh")
    day = dt.datetime.now(dt.UTC).date()
    assert shell(send).stdout == "1 event accepted\n"
    assert shell(post).returncode == 0
    shown = shell(look).stdout
    assert "file/samsara" in shown
    if dt.datetime.now(dt.UTC).date() == day:  # at midnight the events are yesterday's
        assert "All 2 events that were accepted on" in shown
