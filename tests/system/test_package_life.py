"""What befalls an installed package of each kind, on a machine under its own systemd, while apps post."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from fakes.daemon import unbalanced, until
from fakes.packages import (
    CLIENTS,
    HOLD,
    PORT,
    SOCKET,
    UNITS,
    Deb,
    Rpm,
    configure,
    drop_in,
    load,
    main_pid,
    send,
    settled,
    states,
    status,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.machine import Machine

pytestmark = [pytest.mark.system, pytest.mark.parametrize("kind", [Deb, Rpm], ids=["deb", "rpm"])]

ALL_RUN = dict.fromkeys(UNITS, ("active", "enabled"))
NONE_RUNS = dict.fromkeys(UNITS, ("inactive", "disabled"))

DOWN = """
[[upstream]]
name = "down"
kind = "samsara"
url = "http://127.0.0.1:9"
signing = "none"
"""

START_SECONDS = 12
"""What systemd allows for a start that does not ask for more."""

BROKEN = ("RemoteDisconnected", "ConnectionReset", "BrokenPipe", "IncompleteRead")
"""What a client sees whose request was in hand."""

HANGS = "import signal; signal.signal(signal.SIGUSR1, lambda *_: __import__('time').sleep(86400))\n"
"""Run by the interpreter at its start: the signal stops the main thread, and with it the event loop."""


@contextmanager
def port_taken(machine: Machine) -> Iterator[None]:
    """While another program has the port that ours wants."""
    program = f"import socket; s = socket.create_server(('127.0.0.1', {PORT})); print(flush=True); input()"
    process = subprocess.Popen(
        [*machine.entering("--net"), sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        yield
    finally:
        process.communicate("\n")


def pending_for_down(machine: Machine) -> int:
    lanes = status(machine)["lanes"]
    return next(lane["pending_events"] for lane in lanes if lane["upstream"] == "down")


def test_clients_wait_out_crashes_hangs_restarts_and_reloads_and_nothing_is_lost(machine, kind):
    machine.run(*kind.install(1))
    assert states(machine) == ALL_RUN
    drop_in(machine, "WatchdogSec=15")
    packages = "/opt/waystation/current/lib/python3.11/dist-packages"
    machine.inside(f"{machine.run('readlink', '-f', packages).strip()}/hang.pth").write_text(HANGS)
    machine.run("systemctl", "restart", "waystation")
    with load(machine) as rough:
        crashing = main_pid(machine)
        machine.run("systemctl", "kill", "--signal=KILL", "waystation")
        assert send(machine) == "1 event accepted\n"
        assert main_pid(machine) != crashing

        hanging = main_pid(machine)
        machine.run("systemctl", "kill", "--kill-whom=main", "--signal=USR1", "waystation")
        process = machine.inside(f"/proc/{hanging}/status").read_text("utf-8")
        assert "State:\tT" not in process  # it runs, but for its loop
        assert send(machine) == "1 event accepted\n"
        assert main_pid(machine) != hanging
        assert "Watchdog timeout" in machine.run("journalctl", "--no-pager", "--unit=waystation")

    # Nobody is refused. What was in hand at one of the two ends may break, one request a client.
    assert len(rough.failures) <= 2 * len(CLIENTS)
    assert [each for each in rough.failures if not any(broken in each for broken in BROKEN)] == []

    drop_in(machine, "")
    with load(machine) as smooth:
        for _ in range(2):
            machine.run("systemctl", "restart", "waystation")
        with machine.inside("/etc/waystation/config.toml").open("a", encoding="utf-8") as file:
            file.write(DOWN)
        before = main_pid(machine)
        machine.run("systemctl", "reload", "waystation")
        until(lambda: any(lane["upstream"] == "down" for lane in status(machine)["lanes"]), "it has reloaded")
        assert main_pid(machine) == before
    assert smooth.failures == []
    arrived = settled(machine)
    counted = Counter([*rough.acknowledged, *smooth.acknowledged])
    assert not counted - Counter(arrived)
    unheard = Counter(failure.partition(":")[0] for failure in rough.failures)
    assert not Counter(arrived) - counted - unheard - Counter(sold=2)
    assert unbalanced(status(machine)) == []


def test_an_upgrade_that_migrates_the_spool_takes_its_time_and_loses_nothing(machine, kind):
    machine.run(*kind.install(1))
    configure(machine, DOWN)
    configured = machine.inside("/etc/waystation/config.toml").read_text("utf-8")
    send(machine)
    assert migrations(machine) == ["0001_first_tables"]
    drop_in(machine, f"TimeoutStartSec={START_SECONDS}")
    if held := kind is Deb:  # it is the same daemon: once is enough
        machine.inside(HOLD).touch()
    with load(machine) as requests:
        before = main_pid(machine)
        upgrade = machine.start(*kind.upgrade(3))
        until(lambda: main_pid(machine) not in {0, before}, "the later release starts", within=120.0)
        migrating, began = main_pid(machine), time.monotonic()
        if held:
            until(lambda: time.monotonic() - began > START_SECONDS + 3, "longer than a start may take")
            assert machine.shows("waystation", "ActiveState") == "activating"
            assert machine.shows("waystation", "StatusText") == "opening the spool"
            machine.inside(HOLD).unlink()
        told, _ = upgrade.communicate(timeout=180)
        assert upgrade.returncode == 0, told
        assert main_pid(machine) == migrating
    assert migrations(machine) == ["0001_first_tables", "0002_second"]
    assert requests.failures == []
    assert sorted(settled(machine)) == sorted(["sold", *requests.acknowledged])
    assert pending_for_down(machine) == 1 + len(requests.acknowledged)
    assert unbalanced(status(machine)) == []
    assert machine.inside("/etc/waystation/config.toml").read_text("utf-8") == configured
    assert not list(machine.inside("/opt/waystation").glob("live-0.1.0-1-*"))


def migrations(machine: Machine) -> list[str]:
    """The changes that the spool has had, by name; the daemon may run."""
    query = "SELECT name FROM _sqlite_migrations ORDER BY rowid"
    program = (
        "import sqlite3; spool = sqlite3.connect('file:/var/lib/waystation/spool.db?mode=ro', uri=True);"
        f"print(*[name for name, in spool.execute('{query}')])"
    )
    return machine.run("/opt/waystation/current/bin/python3.11", "-I", "-c", program).split()


def test_a_first_installation_whose_start_failed_is_finished_by_the_next_try(machine, kind):
    with port_taken(machine):
        told = machine.run(*kind.install(1), check=False)
        assert "waystation: not all of it started" in told
        assert states(machine)["waystation-http.socket"] == ("failed", "enabled")
        # As if the power had gone before.
        machine.run("systemctl", "disable", "--now", *UNITS)
    machine.run(*kind.retry(1))
    assert states(machine) == ALL_RUN
    assert send(machine) == "1 event accepted\n"

    # What an operator has disabled later stays so.
    machine.run("systemctl", "disable", "--now", *UNITS)
    assert "waystation: disabled" in machine.run(*kind.upgrade(2))
    assert states(machine) == NONE_RUNS
    machine.run("systemctl", "enable", "--now", *UNITS)
    assert settled(machine) == ["sold"]

    removal = ("apt-get", "remove", "--yes") if kind is Deb else ("rpm", "--erase")
    assert "the events are kept in /var/lib/waystation" in machine.run(*removal, "waystation")
    assert machine.inside("/var/lib/waystation/spool.db").exists()
    for path in (SOCKET, "/opt/waystation", "/usr/bin/waystation"):
        assert not machine.inside(path).exists(), path
    # What was kept counts when it is back.
    machine.run(*(kind.install(2) if kind is Deb else kind.upgrade(2)))
    assert states(machine) == ALL_RUN
    assert [row["events"] for row in status(machine)["received"]] == [1]
