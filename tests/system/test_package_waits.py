"""What takes longer than its unit allows is given the time that it asks systemd for."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from fakes.daemon import until
from fakes.packages import HOLD, UNITS, Deb, configure, drop_in, main_pid, send, settled, status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fakes.machine import Machine

pytestmark = pytest.mark.system

ALLOWED_SECONDS = 12
"""What systemd allows for a start or a stop that does not ask for more."""

UPSTREAM = """
[[upstream]]
name = "slow"
kind = "samsara"
url = "http://127.0.0.1:{port}"
signing = "none"
timeouts = {{read = "5m", total = "5m"}}
"""

SLOW = """
import socket
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
connection, _ = listening.accept()
connection.recv(65536)
print("asked", flush=True)
input()
connection.sendall(b"HTTP/1.1 202 Accepted\\r\\nContent-Length: 0\\r\\n\\r\\n")
input()
"""
"""An upstream that takes one request, and answers when it is told to."""

HELD = f"""

_at_once = salvage


def salvage(*given):
    import os, time

    while os.path.exists({HOLD!r}):
        time.sleep(0.05)
    return _at_once(*given)
"""


@contextmanager
def slow_upstream(machine: Machine) -> Iterator[tuple[int, Callable[[], object], Callable[[], None]]]:
    """Its port, what waits until it was asked, and what has it answer."""
    process = subprocess.Popen(
        [*machine.entering("--net"), sys.executable, "-c", SLOW],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said, told = process.stdin, process.stdout

    def answer() -> None:
        said.write("\n")
        said.flush()

    try:
        yield int(told.readline()), told.readline, answer
    finally:
        process.communicate("\n\n")


def outlast() -> None:
    began = time.monotonic()
    until(lambda: time.monotonic() - began > ALLOWED_SECONDS + 3, "longer than is allowed")


def test_a_stop_waits_for_the_answer_that_is_under_way(machine):
    machine.run(*Deb.install(1))
    drop_in(machine, f"TimeoutStopSec={ALLOWED_SECONDS}")
    with slow_upstream(machine) as (port, asked, answer):
        config = machine.inside("/etc/waystation/config.toml")
        config.write_text(f'drain_timeout = "2m"\n{config.read_text("utf-8")}', encoding="utf-8")
        configure(machine, UPSTREAM.format(port=port))
        assert send(machine) == "1 event accepted\n"
        assert asked() == "asked\n"
        stopping = machine.start("systemctl", "stop", *UNITS)
        until(lambda: machine.shows("waystation", "ActiveState") == "deactivating", "it stops")
        outlast()
        assert machine.shows("waystation", "ActiveState") == "deactivating"
        answer()
        told, _ = stopping.communicate(timeout=120)
        assert stopping.returncode == 0, told
        assert machine.shows("waystation", "Result") == "success"
    machine.run("systemctl", "start", *UNITS)
    (lane,) = [lane for lane in status(machine)["lanes"] if lane["upstream"] == "slow"]
    assert lane["pending_events"] == 0


def test_a_salvage_takes_its_time(machine):
    machine.run(*Deb.install(1))
    assert send(machine) == "1 event accepted\n"
    assert settled(machine) == ["sold"]
    modules = machine.run("find", "/opt/waystation/", "-path", "*/live-*/collector/spool/*salvage*").split()
    for path in map(machine.inside, modules):
        if path.suffix == ".py":
            path.write_text(path.read_text("utf-8") + HELD, encoding="utf-8")
        else:
            path.unlink()  # it would be taken without a look at the source
    drop_in(machine, f"TimeoutStartSec={ALLOWED_SECONDS}")
    machine.run("systemctl", "stop", *UNITS)
    with machine.inside("/var/lib/waystation/spool.db").open("r+b") as database:
        database.write(b"\xa5garbage" * 1024)
    machine.inside(HOLD).touch()
    machine.run("systemctl", "start", "--no-block", *UNITS)
    until(lambda: main_pid(machine) != 0, "it starts", within=120.0)
    salvaging = main_pid(machine)
    outlast()
    assert machine.shows("waystation", "ActiveState") == "activating"
    machine.inside(HOLD).unlink()
    assert send(machine) == "1 event accepted\n"
    assert main_pid(machine) == salvaging
    assert "spool_salvaged" in machine.run("journalctl", "--no-pager", "--unit=waystation")
