"""`waystation service`, as far as it goes without touching a service manager."""

from __future__ import annotations

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the plans are systemd's here")


@pytest.fixture(autouse=True)
def command(monkeypatch, tmp_path):
    program = tmp_path / "waystation"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return program


def test_a_dry_run_prints_each_file_and_command_and_does_nothing(run, command, tmp_path):
    done = run("service", "install", "--user", "--dry-run")
    assert done.code == 0
    assert f"would write {tmp_path}/.config/systemd/user/waystation.service (0644)" in done.out
    assert f"    ExecStart={command} run" in done.out
    assert "would run systemctl --user daemon-reload" in done.out
    assert not (tmp_path / ".config").exists()


def test_the_machines_service_ignores_what_this_shell_has_set(run, monkeypatch):
    monkeypatch.setenv("WAYSTATION_LISTENER__0__BIND", "127.0.0.1:9999")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    done = run("service", "install", "--system", "--dry-run")
    assert "ListenStream=/run/waystation/waystation.sock" in done.out
    assert "9999" not in done.out


def test_uninstalling_tells_what_it_would_remove(run, tmp_path):
    done = run("service", "uninstall", "--user", "--dry-run", "--purge")
    assert f"would remove {tmp_path}/.local/state/waystation" in done.out
    assert "would leave" not in done.out
    (tmp_path / ".config/waystation").mkdir(parents=True)
    done = run("service", "uninstall", "--user", "--dry-run")
    assert f"would leave {tmp_path}/.config/waystation\n" in done.out


def test_logs_and_status_are_those_of_the_service_manager(run):
    done = run("service", "logs", "--user", "--dry-run", "-n", "7", "--follow")
    assert done.out == "would run journalctl --user-unit waystation.service --lines 7 --follow\n"
    assert "not installed" in run("service", "status", "--user", "--dry-run").err


def test_a_configuration_that_cannot_be_used_is_not_installed(run, tmp_path):
    (tmp_path / "bad.toml").write_text("colour = 1\n")
    done = run("service", "install", "--user", "--dry-run", "--config", str(tmp_path / "bad.toml"))
    assert done.code == 78
    assert "colour" in done.err
