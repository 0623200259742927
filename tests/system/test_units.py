"""The units, held against systemd's own opinion; nothing is booted."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parents[2] / "service/systemd"
EXPOSURE = 12
"""What `systemd-analyze security` may say of the service, in tenths; a service without any care gets 92."""

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze (systemd)"),
]


@pytest.fixture
def units(tmp_path):
    """Copies whose command exists here."""

    def copied(scope):
        for unit in (UNITS / scope).iterdir():
            text = unit.read_text("utf-8").replace("/usr/bin/waystation", "/bin/true")
            (tmp_path / unit.name).write_text(text, encoding="utf-8")
        return tmp_path

    return copied


def analyze(*arguments):
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("scope", ["system", "user"])
def test_systemd_finds_nothing_wrong_with_the_units(units, scope):
    directory = units(scope)
    found = analyze("verify", f"--{scope}", "--man=no", *sorted(directory.iterdir()))
    # It also tells what is wrong with others' units on this machine.
    ours = [line for line in found.stdout.splitlines() if "waystation" in line]
    assert ours == []


def test_a_mistake_in_a_unit_would_be_found(units):
    unit = units("system") / "waystation.service"
    unit.write_text(unit.read_text("utf-8").replace("WatchdogSec=60", "WatchdogSecs=60"), encoding="utf-8")
    assert "WatchdogSecs" in analyze("verify", "--man=no", unit).stdout


def test_the_service_is_confined(units):
    unit = units("system") / "waystation.service"
    found = analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", unit)
    assert found.returncode == 0, found.stdout
    unit.write_text(unit.read_text("utf-8").replace("CapabilityBoundingSet=\n", ""), encoding="utf-8")
    assert analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", unit).returncode != 0


def test_the_wheel_has_what_service_install_writes(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for path in UNITS.rglob("*.*"):
        assert f"collector/service_files/systemd/{path.relative_to(UNITS)}" in names


def test_the_installed_command_finds_its_units(waystation):
    done = subprocess.run(
        [waystation, "service", "install", "--system", "--dry-run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"ExecStart={waystation} run" in done.stdout
