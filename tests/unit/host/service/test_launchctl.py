"""Jobs are loaded, unloaded and started whatever launchctl says, or it is told why not."""

from __future__ import annotations

import plistlib

import pytest
from fakes.service_managers import FakeLaunchd, LoadedJob

from collector.errors import ServiceError
from collector.host.service.launchctl import UNLOAD_SECONDS, JobName, Kickstart, Load, Unload
from collector.host.service.machine import Outcome

JOB = JobName("gui/501", "io.waystation.waystation")
LIST = plistlib.dumps({"Label": JOB.label})


@pytest.fixture
def listing(tmp_path):
    path = tmp_path / "job.plist"
    path.write_bytes(LIST)
    return path


def done(machine, *steps):
    return [step for step in steps if step.due(machine) and not step.run(machine)]


def verbs(machine):
    return [command[1] for command in machine.ran if command[1] != "print"]


def test_what_is_loaded_already_is_left_alone(listing):
    machine = FakeLaunchd()
    load = Load(JOB, listing)
    assert done(machine, load) == [load]
    assert done(machine, load) == []
    assert verbs(machine) == ["bootstrap"]


def test_what_is_not_loaded_need_not_be_unloaded():
    machine = FakeLaunchd()
    assert done(machine, Unload(JOB)) == []
    assert verbs(machine) == []


def test_a_job_is_loaded_anew_only_when_the_old_one_has_ended(listing):
    machine = FakeLaunchd(slow=9, jobs={str(JOB): LoadedJob(b"old")})
    done(machine, Unload(JOB), Load(JOB, listing))
    assert machine.jobs[str(JOB)].content == LIST
    assert verbs(machine) == ["bootout", "bootstrap"]


def test_a_job_that_does_not_end_is_told_of():
    machine = FakeLaunchd(slow=10 * UNLOAD_SECONDS, jobs={str(JOB): LoadedJob(b"old")})
    with pytest.raises(
        ServiceError, match=f"still holds gui/501/io.waystation.waystation after {UNLOAD_SECONDS}"
    ):
        done(machine, Unload(JOB))


def test_a_refusal_for_a_moment_is_waited_out(listing):
    machine = FakeLaunchd(refusals=[5, 5])
    done(machine, Load(JOB, listing))
    assert verbs(machine) == ["bootstrap"] * 3
    assert machine.jobs[str(JOB)].content == LIST


def test_what_somebody_else_is_loading_counts_as_loaded(listing):
    class Slow(FakeLaunchd):
        def pause(self, seconds):
            self.jobs[str(JOB)] = LoadedJob(LIST)

    machine = Slow(refusals=[37])
    done(machine, Load(JOB, listing))
    assert verbs(machine) == ["bootstrap"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"domains": {"system"}}, "125: Domain does not support specified action; an agent is loaded while"),
        (
            {"disabled": {str(JOB)}},
            "119: Service is disabled; `launchctl enable gui/501/io.waystation.waystation`",
        ),
        ({"refusals": [5] * 9}, "5: as was asked for; `log show"),
        ({"refusals": [37] * 9}, "37: as was asked for"),
    ],
)
def test_a_refusal_that_lasts_is_told_with_its_reason(listing, change, says):
    with pytest.raises(ServiceError, match=says) as told:
        done(FakeLaunchd(**change), Load(JOB, listing))
    assert f"launchd does not take {listing}: Bootstrap failed: " in str(told.value)


def test_a_property_list_that_launchd_cannot_use_is_told_of(listing):
    listing.write_bytes(LIST[:30])
    with pytest.raises(ServiceError, match="5: Input/output error"):
        done(FakeLaunchd(), Load(JOB, listing))


def test_nothing_is_done_where_launchd_does_not_tell_what_is_loaded(listing):
    class Silent(FakeLaunchd):
        def answer(self, command):
            return Outcome(1, "Not privileged")

    machine = Silent()
    for step in (Load(JOB, listing), Unload(JOB)):
        with pytest.raises(ServiceError, match=r"cannot tell whether .* is loaded: Not privileged"):
            done(machine, step)
    assert verbs(machine) == []


def test_an_unloading_that_is_refused_is_told_of():
    class Strict(FakeLaunchd):
        def _bootout(self, name):
            return Outcome(1, "Boot-out failed: 1: Operation not permitted")

    with pytest.raises(ServiceError, match=r"does not let go of .*Operation not permitted"):
        done(Strict(jobs={str(JOB): LoadedJob(b"")}), Unload(JOB))


def test_one_that_runs_goes_on_and_one_that_has_ended_is_started():
    machine = FakeLaunchd(jobs={str(JOB): LoadedJob(LIST, runs=False)})
    for _ in range(2):
        done(machine, Kickstart(JOB))
        assert machine.jobs[str(JOB)].runs
    with pytest.raises(ServiceError, match="does not start"):
        done(FakeLaunchd(), Kickstart(JOB))
