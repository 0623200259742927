"""The packages, built once for all tests of a run of the tests, and a load on a machine that has one."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fakes.daemon import until
from fakes.delivery import in_files
from fakes.machine import ROOT, Impossible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.machine import Machine

LOAD = Path(__file__).with_name("machine_load.py")
SOCKET = "/run/waystation/waystation.sock"
PORT = 9000


def build(directory: Path, *releases: int) -> None:
    """Build the packages of some releases into a directory.

    Raises:
        Impossible: there is no interpreter to be had here.
    """
    command = [sys.executable, str(ROOT / "packaging/build.py"), "--output", str(directory)]
    for release in releases:
        command += ["--release", str(release)]
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build/packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            command,
            # Else the time of the last commit, which may be another one in a moment.
            env={**os.environ, "SOURCE_DATE_EPOCH": "1767225600"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if "cannot fetch the interpreter" in done.stdout or "packages are built on x86-64 alone" in done.stdout:
        raise Impossible(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout


@dataclass
class Load:
    """What became of the requests.

    Attributes:
        acknowledged: names of events.
        failures: requests that failed, and how.
    """

    acknowledged: list[str]
    failures: list[str]


@contextmanager
def load(machine: Machine) -> Iterator[Load]:
    """Post to the machine's socket and port throughout the block; filled in at its end."""
    found = Load([], [])
    process = subprocess.Popen(
        [*machine.entering("--net"), sys.executable, str(LOAD), str(machine.inside(SOCKET)), str(PORT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield found
    finally:
        told, _ = process.communicate("")
    result = json.loads(told)
    found.acknowledged, found.failures = result["acknowledged"], result["failures"]


def status(machine: Machine) -> dict[str, object]:
    """What `waystation status` tells of it."""
    found: dict[str, object] = json.loads(machine.run("waystation", "status", "--json", check=False))
    return found


def settled(machine: Machine) -> list[str]:
    """The names of the events in the `file` upstream's files, once none waits for it."""

    def drained() -> bool:
        lanes: object = status(machine)["lanes"]
        assert isinstance(lanes, list)
        return all(lane["pending_events"] == 0 for lane in lanes if lane["upstream"] == "file")

    until(drained, "the files have all events", within=90.0)
    written = in_files(machine.inside("/var/lib/waystation/events"))
    return [json.loads(event)["eventName"] for event in written.get("samsara", {}).values()]
