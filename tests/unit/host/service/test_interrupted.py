"""An installation that is interrupted anywhere ends, when it is done again, as if it had not been."""

from __future__ import annotations

import copy
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from fakes.service_managers import FakeLaunchd, FakeSystemd
from fakes.wishes import make_wish

from collector.errors import ServiceError
from collector.host.service import launchctl, steps
from collector.host.service.launchd import Launchd
from collector.host.service.machine import Outcome
from collector.host.service.systemd import Systemd

if TYPE_CHECKING:
    from pathlib import Path

BEFORE = ({"bind": "localhost:9000"}, {"bind": "unix:/run/waystation/waystation.sock"})
AFTER = ({"bind": "127.0.0.1:9100"}, {"bind": "unix:/run/waystation/waystation.sock"})
CARRIED_OUT_BY = {steps.__file__, launchctl.__file__}


class Killed(BaseException):
    """The process is gone."""


class Killer:
    """Ends the process before the n-th line of what carries plans out; without n it counts the lines."""

    def __init__(self, line: int | None = None) -> None:
        self.lines = 0
        self._line = line

    def __enter__(self):
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def _trace(self, frame, event, _argument):
        if frame.f_code.co_filename not in CARRIED_OUT_BY:
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self._line:
                raise Killed
        return self._trace


class Device:
    """A machine with its service manager."""

    def __init__(self, root: Path, platform: str, scope: str) -> None:
        self.root, self._platform, self._scope = root, platform, scope
        system = scope == "system"
        units = root / ("etc/systemd/system" if system else "home/.config/systemd/user")
        self.manager = FakeSystemd(units) if platform == "linux" else FakeLaunchd(slow=2)

    def plan(self, listeners=BEFORE):
        return self._asked().install(self._wish(listeners))

    def plan_to_uninstall(self):
        return self._asked().uninstall(self._wish(BEFORE), purge=False)

    def carry_out(self, plan, machine=None):
        lines = []
        steps.carry_out(plan, lines.append, machine or self.manager)
        return lines

    def state(self):
        files = {
            str(path.relative_to(self.root)): (path.stat().st_mode, path.is_file() and path.read_bytes())
            for path in self.root.rglob("*")
        }
        return files, copy.deepcopy(self.manager.state())

    def back_to(self, kept: Path, manager) -> None:
        shutil.rmtree(self.root)
        shutil.copytree(kept, self.root, symlinks=True)
        self.manager = copy.deepcopy(manager)

    def _asked(self):
        return Systemd() if self._platform == "linux" else Launchd()

    def _wish(self, listeners):
        # A user's paths are taken as they are.
        below = "" if self._scope == "system" else str(self.root)
        places = [{"bind": given["bind"].replace("unix:", f"unix:{below}")} for given in listeners]
        return make_wish(self.root, self._scope, places, platform=self._platform)


@pytest.fixture(params=["linux", "darwin"])
def platform(request):
    return request.param


@pytest.fixture(params=["system", "user"])
def device(request, platform, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "chown", lambda *_: None)  # its account is not of this machine
    monkeypatch.setattr(os, "fsync", lambda _: None)  # thousands of them, and no power is cut here
    root = tmp_path / "root"
    root.mkdir()
    return Device(root, platform, request.param)


def killed_at(line, device, plan):
    """Carry a plan out up to a line.

    In a thread of its own: an exception out of a trace function, where another one was being handled,
    leaves that one with the thread as the one that is still handled (seen with CPython 3.11), and each
    failure after that would be shown as its consequence.
    """
    with ThreadPoolExecutor(1) as thread, pytest.raises(Killed):
        thread.submit(_killed_at, line, device, plan).result()


def _killed_at(line, device, plan):
    with Killer(line):
        device.carry_out(plan())


def converges(device, kept, plan):
    """Kill it at each line in turn, go on, and compare."""
    shutil.copytree(device.root, kept)
    manager = copy.deepcopy(device.manager)
    with Killer() as counted:
        device.carry_out(plan())
    expected = device.state()
    assert counted.lines > 50
    for line in range(1, counted.lines + 1):
        device.back_to(kept, manager)
        killed_at(line, device, plan)
        for _ in range(2):  # what was ending when it was killed goes on with that
            device.manager.pause(1)
        device.carry_out(plan())
        assert device.state() == expected, f"killed before line {line} of {counted.lines}"


def test_a_first_installation_converges(device, tmp_path):
    converges(device, tmp_path / "kept", device.plan)


def test_another_configuration_is_what_runs_however_its_installation_was_interrupted(device, tmp_path):
    device.carry_out(device.plan())
    converges(device, tmp_path / "kept", lambda: device.plan(AFTER))
    assert b"9100" in repr(device.manager.state()).encode()


def test_an_uninstallation_converges(device, tmp_path):
    device.carry_out(device.plan())
    converges(device, tmp_path / "kept", device.plan_to_uninstall)


class Failing:
    """Refuses its n-th command."""

    def __init__(self, manager, number):
        self._manager, self._left = manager, number

    def run(self, command):
        self._left -= 1
        return Outcome(1, "refused") if self._left == 0 else self._manager.run(command)

    def pause(self, seconds):
        self._manager.pause(seconds)


def test_a_command_that_fails_once_is_made_up_for(device, tmp_path):
    device.carry_out(device.plan())
    shutil.copytree(device.root, tmp_path / "kept")
    manager = copy.deepcopy(device.manager)
    before = len(manager.ran)
    device.carry_out(device.plan(AFTER))
    expected = device.state()
    for number in range(1, len(device.manager.ran) - before + 1):
        device.back_to(tmp_path / "kept", manager)
        try:
            device.carry_out(device.plan(AFTER), Failing(device.manager, number))
        except ServiceError as error:
            assert "refused" in str(error)  # noqa: PT017 - some questions may fail: then it is done all the same
        device.carry_out(device.plan(AFTER))
        assert device.state() == expected, f"command {number} was refused"


def test_a_second_installation_restarts_nothing(device):
    device.carry_out(device.plan())
    device.manager.ran.clear()
    told = device.carry_out(device.plan())
    assert not [line for line in told if line.startswith(("write", "make"))]
    assert not {"stop", "bootout", "bootstrap"} & {word for command in device.manager.ran for word in command}


def test_what_went_on_running_shows_a_restart_that_was_left_out(device):
    """The fakes hold what they were told to read, or the tests above could not fail."""
    device.carry_out(device.plan())
    plan = device.plan(AFTER)
    for step in plan.steps:
        if isinstance(step, steps.Write | steps.Remove):
            step.run(device.manager)
    device.carry_out(device.plan(AFTER))
    assert b"9100" not in repr(running(device.manager)).encode()


def running(manager):
    return manager.running if isinstance(manager, FakeSystemd) else manager.jobs
