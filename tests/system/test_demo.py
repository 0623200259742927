"""`waystation demo`, as a newcomer runs it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from fakes.processes import alive

pytestmark = pytest.mark.system

PATIENCE = 120.0
ZEROS = ("lost", "altered", "out of order", "sent twice, not recognised")


@pytest.fixture
def place():
    """A directory for all of the demo's: its home, and its place for temporary files."""
    directory = Path(tempfile.mkdtemp(prefix="ws-"))
    for name in ("home", "tmp", "runtime"):
        (directory / name).mkdir()
    yield directory
    shutil.rmtree(directory)


def start(waystation, place, *options):
    environ = {
        "PATH": os.defpath,
        "HOME": str(place / "home"),
        "TMPDIR": str(place / "tmp"),
        "XDG_RUNTIME_DIR": str(place / "runtime"),
        # None of these may reach the demo's daemon.
        "WAYSTATION_SPOOL__MAX_BYTES": "nonsense",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    return subprocess.Popen(
        [waystation, "demo", *options],
        cwd=place / "home",
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )


def files(place):
    """What lies in the directories that the demo may use."""
    return [str(path) for name in ("home", "tmp", "runtime") for path in (place / name).iterdir()]


def running(output):
    """The processes that the demo said it started, and that still run."""
    return [pid for pid in map(int, re.findall(r"process (\d+)", output)) if alive(pid)]


def numbers(output):
    """The table's rows: label -> numbers of samsara, traintracks, together."""
    rows = (re.split(r"\s*[│|]\s*", line.strip("│| \n")) for line in output.splitlines())
    return {
        row[0]: [int(cell.replace(",", "")) for cell in row[1:]]
        for row in rows
        if len(row) == 4 and row[-1].replace(",", "").isdigit()
    }


def test_demo_loses_nothing_and_leaves_nothing_behind(waystation, place):
    with start(waystation, place, "--events", "1500", "--seed", "3") as demo:
        output, _ = demo.communicate(timeout=PATIENCE)
    print(output)  # noqa: T201 - pytest shows it where the test failed
    assert demo.returncode == 0
    table = numbers(output)
    for row in ZEROS:
        assert table[row] == [0, 0, 0], row
    acknowledged, unanswered = table["acknowledged by the daemon"], table["without an answer when killed"]
    assert table["arrived upstream, and verified"] == acknowledged
    assert acknowledged[0] + acknowledged[1] == acknowledged[2]
    assert acknowledged[2] + unanswered[2] == 1500 + 8
    assert all(count > 0 for count in table["sent twice, recognised by key"]), "each lane lost an answer"
    assert "SIGKILL" in output
    assert "4 x 500" in output
    assert "2 x 429" in output
    assert len(re.findall(r"process \d+", output)) == 3
    assert running(output) == []
    assert files(place) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_demo_leaves_nothing_behind(waystation, place, number):
    with start(waystation, place, "--events", "1500") as demo:
        said = ""
        while "the daemon is up" not in said:
            line = demo.stdout.readline()
            assert line, f"it ended too early:\n{said}"
            said += line
        assert len(running(said)) == 2
        assert files(place) != []
        demo.send_signal(number)
        output, _ = demo.communicate(timeout=PATIENCE)
    assert demo.returncode == 128 + number
    assert f"stopped by {number.name}" in output
    assert "Traceback" not in output
    assert running(said) == []
    assert files(place) == []
