from __future__ import annotations

import sys
from pathlib import Path

import platformdirs
import pytest

from collector.config import paths

linux = pytest.mark.skipif(sys.platform != "linux", reason="XDG is Linux's")


@linux
@pytest.mark.parametrize("given", [True, False])
def test_the_directories_are_those_of_platformdirs(tmp_path, monkeypatch, given):
    environ = {"HOME": str(tmp_path)}
    if given:
        environ |= {
            "XDG_STATE_HOME": str(tmp_path / "s"),
            "XDG_CONFIG_HOME": str(tmp_path / "c"),
            "XDG_RUNTIME_DIR": str(tmp_path),
        }
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert paths.state_dir(environ) == platformdirs.user_state_path("waystation", appauthor=False)
    config = platformdirs.user_config_path("waystation", appauthor=False)
    config.mkdir(parents=True)
    (config / "config.toml").touch()
    assert paths.config_file(environ) == config / "config.toml"
    if given:
        runtime = platformdirs.user_runtime_path("waystation", appauthor=False)
        assert paths.socket_path(environ) == runtime / "waystation.sock"


def test_on_a_mac_the_sockets_are_where_nothing_empties_the_directory(monkeypatch, tmp_path):
    """launchd makes sockets, but no directories for them."""
    monkeypatch.setattr(platformdirs, "user_state_path", lambda *_, **__: tmp_path / "Application Support/w")
    monkeypatch.setattr(sys, "platform", "darwin")
    found = paths.socket_path({"HOME": str(tmp_path)})
    monkeypatch.undo()
    assert found == tmp_path / "Application Support/w/run/waystation.sock"
    machines = paths.SYSTEM_RUNTIME["darwin"]
    assert machines == paths.SYSTEM_HOME["darwin"] / "run"
    assert len(f"{machines}/waystation.sock") <= 103


@linux
def test_relative_xdg_directories_are_ignored():
    assert paths.state_dir({"HOME": "/h", "XDG_STATE_HOME": "s"}) == Path("/h/.local/state/waystation")


def test_the_service_managers_directories_come_first():
    environ = {
        "HOME": "/h",
        "STATE_DIRECTORY": "/var/lib/waystation:/var/lib/other",
        "RUNTIME_DIRECTORY": "/run/waystation",
    }
    assert paths.state_dir(environ) == Path("/var/lib/waystation")
    assert paths.socket_path(environ) == Path("/run/waystation/waystation.sock")
    assert paths.admin_socket_path(environ) == Path("/run/waystation/admin.sock")


@linux
def test_without_a_session_the_sockets_are_beside_the_spool_and_not_in_tmp(tmp_path):
    environ = {"HOME": "/h", "XDG_RUNTIME_DIR": str(tmp_path / "gone")}
    assert paths.socket_path(environ) == Path("/h/.local/state/waystation/waystation.sock")


def test_a_named_file_counts_whether_it_exists_or_not(tmp_path):
    environ = {"HOME": str(tmp_path), "WAYSTATION_CONFIG": "/nowhere/named.toml"}
    assert paths.config_file(environ) == Path("/nowhere/named.toml")
    assert paths.config_file(environ, Path("/nowhere/given.toml")) == Path("/nowhere/given.toml")


def test_no_file_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "SYSTEM_CONFIG", tmp_path / "etc" / "config.toml")
    assert paths.config_file({"HOME": str(tmp_path), "WAYSTATION_CONFIG": ""}) is None
