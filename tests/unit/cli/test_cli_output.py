"""What becomes of a command whose output nobody takes; real processes, real descriptors."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from fakes.statuses import make_status

EVENT = '{"timestamp": 1, "sourceId": "s", "eventName": "e"}'

full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
NOWHERE = [
    pytest.param(">&-", "Bad file descriptor", id="closed"),
    pytest.param(">/dev/full", "No space left on device", id="full", marks=full),
]


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def shell(request, home):
    def run(arguments, redirection, given="", stdout=subprocess.PIPE):
        command = f"{shlex.join([sys.executable, '-m', 'collector', *arguments])} {redirection}"
        return subprocess.run(
            ["sh", "-c", command],
            cwd=home,
            env={**os.environ, "PYTHONUNBUFFERED": request.param, "PYTHONPATH": os.pathsep.join(sys.path)},
            input=given,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture
def asked(daemon, home):
    """Arguments for a status that a daemon is asked for."""
    body = msgspec.json.encode(make_status())
    daemon.answers.append(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    (home / "config.toml").write_text(f'[admin]\nbind = ["unix:{daemon.path}"]\n')
    return ["status", "--config", "config.toml"]


def outcome(done):
    return done.returncode, done.stderr


@pytest.mark.parametrize(("redirection", "reason"), NOWHERE)
def test_output_that_cannot_be_written_is_one_line_and_code_74(shell, daemon, asked, redirection, reason):
    said = (74, f"waystation: cannot write output: {reason}\n")
    assert outcome(shell(["config", "show"], redirection)) == said
    assert outcome(shell(["--version"], redirection)) == said
    assert outcome(shell(asked, redirection)) == said
    assert outcome(shell(["send", "--socket", daemon.path], redirection, EVENT)) == said


@pytest.mark.parametrize("redirection", [">&-", ">&- <&-", ">&- 2>&-"])
def test_a_command_that_prints_nothing_needs_no_output(shell, daemon, home, redirection):
    (home / "event").write_text(EVENT)
    assert outcome(shell(["send", "-q", "--socket", daemon.path, "event"], redirection)) == (0, "")


def test_a_reader_that_goes_away_is_code_141_and_no_error(shell, asked):
    for command in (["config", "schema"], asked):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as gone:
            done = shell(command, "", stdout=gone)
        assert outcome(done) == (141, "")


@full
def test_errors_that_cannot_be_told_leave_the_exit_code_as_it_is(shell):
    assert shell(["nonsense"], "2>/dev/full").returncode == 64
    assert shell(["config", "show"], ">/dev/full 2>&1").returncode == 74
