"""What `waystation status` leaves unimported where a daemon answers: it is to start at once."""

from __future__ import annotations

import ast
import subprocess
import sys

import msgspec
import pytest
from fakes.statuses import make_status

HEAVY = {
    "asyncio", "cryptography", "email", "http", "httpx", "importlib.metadata", "jinja2", "json", "logging",
    "platformdirs", "prometheus_client", "rich", "shutil", "sqlite3", "ssl", "structlog", "trio",
}  # fmt: skip
OURS = {
    "collector.admin", "collector.admin.status", "collector.config", "collector.config.addresses",
    "collector.config.paths", "collector.config.place", "collector.config.units", "collector.errors",
    "collector.spool", "collector.spool.views",
}  # fmt: skip
"""Beside those of `collector.cli`."""

READING = {"collector.config.reading", "collector.config.merge", "collector.config.positions"}
"""Where there is a file."""

PROBE = """
import sys, collector.__main__ as program
code = program.main(["status", *sys.argv[1:]])
print(sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def imported(daemon, home):
    """The modules that a call has imported."""

    def call(*arguments):
        body = msgspec.json.encode(make_status())
        daemon.answers.append(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        done = subprocess.run(
            [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=False, cwd=home
        )
        assert done.returncode == 0, done.stderr
        assert "kiosk-17" in done.stdout
        return set(ast.literal_eval(done.stderr))

    return call


@pytest.mark.parametrize("arguments", [(), ("--json",)], ids=["for people", "as JSON"])
def test_asking_the_daemon_at_its_default_place_imports_little(daemon, home, imported, arguments):
    place = home / "run/waystation/admin.sock"
    place.parent.mkdir(parents=True)
    place.symlink_to(daemon.path)
    names = imported(*arguments)
    assert not names & {*HEAVY, "tomllib"}
    assert {name for name in names if name.startswith("collector.") and ".cli" not in name} - OURS == {
        "collector.__main__"
    }


def test_asking_the_daemon_where_a_file_says_imports_little_more(daemon, home, imported):
    file = home / "config.toml"
    file.write_text(f'state_dir = "{home}"\n[admin]\nbind = ["unix:{daemon.path}"]\n')
    names = imported("--config", str(file))
    assert not names & HEAVY
    assert {name for name in names if name.startswith("collector.") and ".cli" not in name} - OURS == {
        "collector.__main__", *READING
    }  # fmt: skip
