"""What `waystation service install` would write and run where systemd is."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.wishes import make_wish

from collector.errors import ServiceError
from collector.host.service.machine import Outcome
from collector.host.service.steps import Remove, Run, Write, carry_out
from collector.host.service.systemd import UNITS, Systemd


@pytest.fixture
def wish(tmp_path):
    return lambda scope="system", listeners=(), **given: make_wish(tmp_path, scope, listeners, **given)


def written(plan):
    return {step.path.name: step.content.decode() for step in plan.steps if isinstance(step, Write)}


def commands(plan):
    return [" ".join(step.command) for step in plan.steps if isinstance(step, Run)]


def test_the_units_run_this_installation_with_its_configuration(wish):
    units = written(
        Systemd().install(wish(program=Path("/srv/w n/bin/waystation"), config_path=Path("/srv/50%.toml")))
    )
    assert 'ExecStart="/srv/w n/bin/waystation" run --config /srv/50%%.toml\n' in units["waystation.service"]


def test_the_socket_units_listen_where_the_configuration_says(wish):
    listeners = [
        {"bind": "localhost:9100"},
        {"bind": "127.0.0.1:9200"},
        {"bind": "unix:/run/x/s", "mode": 0o600, "group": "tills"},
    ]
    units = written(Systemd().install(wish(listeners=listeners)))
    assert "ListenStream=127.0.0.1:9100\nListenStream=127.0.0.1:9200\n" in units["waystation-http.socket"]
    assert "ListenStream=[::1]:9100\n" in units["waystation-http6.socket"]
    for line in ("ListenStream=/run/x/s", "SocketMode=0600", "SocketGroup=tills"):
        assert f"{line}\n" in units["waystation.socket"]


def test_a_listener_that_is_not_configured_has_no_unit(wish):
    plan = Systemd().install(wish(listeners=[{"bind": "unix:/run/x/s"}]))
    assert [name for name in written(plan) if name in UNITS] == ["waystation.socket", "waystation.service"]
    assert "Sockets=waystation.socket\n" in written(plan)["waystation.service"]
    gone = {step.path.name for step in plan.steps if isinstance(step, Remove)}
    assert gone == {"waystation-http.socket", "waystation-http6.socket"}


def test_the_machines_service_has_its_account_and_directories_first(wish):
    plan = Systemd().install(wish())
    assert commands(plan)[:2] == [
        "systemd-sysusers waystation.conf",
        "systemd-tmpfiles --create waystation.conf",
    ]
    assert commands(plan)[-1].startswith("systemctl start waystation.socket")


def test_a_users_service_needs_no_account(wish):
    plan = Systemd().install(wish("user"))
    assert all(line.startswith("systemctl --user ") for line in commands(plan))
    assert {step.path.parent.name for step in plan.steps if isinstance(step, Write)} == {"user"}
    assert "User=" not in written(plan)["waystation.service"]


class WithoutSession:
    """As seen by who became a user without logging in."""

    def run(self, command):
        return Outcome(1, "Failed to connect to bus: No medium found")

    def pause(self, seconds):
        raise AssertionError(seconds)


def test_a_user_without_a_manager_is_told_how_to_come_by_one(wish):
    mine = wish("user")
    for plan in (Systemd().install(mine), Systemd().uninstall(mine, purge=False)):
        with pytest.raises(ServiceError) as told:
            carry_out(plan, lambda _: None, WithoutSession())
        assert "connect to bus: No medium found; log in as the user itself" in str(told.value)
        assert f"XDG_RUNTIME_DIR=/run/user/{mine.uid}" in str(told.value)


def test_a_program_below_home_can_be_seen_by_its_service(wish):
    unit = written(Systemd().install(wish(program=Path("/home/me/venv/bin/waystation"))))[
        "waystation.service"
    ]
    assert "ProtectHome=read-only" in unit


def test_stopping_stops_the_sockets_too(wish):
    asked = wish()
    for name in UNITS:
        path = asked.below_root(f"/etc/systemd/system/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert commands(Systemd().stop(asked)) == [f"systemctl stop {' '.join(UNITS)}"]
    assert commands(Systemd().start(asked)) == [f"systemctl start {' '.join(UNITS)}"]


def test_what_is_not_installed_cannot_be_started(wish):
    with pytest.raises(ServiceError, match="not installed"):
        Systemd().start(wish())


@pytest.mark.parametrize("act", [Systemd().install, lambda wish: Systemd().uninstall(wish, purge=False)])
def test_what_a_package_installed_is_left_to_the_package(wish, act):
    asked = wish()
    unit = asked.below_root("/usr/lib/systemd/system/waystation.service")
    unit.parent.mkdir(parents=True)
    unit.touch()
    with pytest.raises(ServiceError, match="package"):
        act(asked)
