"""What a newcomer is told to do next."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.cli.next_steps import next_step, refuse_foreign
from collector.config.load import load
from collector.config.paths import SYSTEM_CONFIG
from collector.errors import WaystationError


@pytest.fixture
def environ(tmp_path):
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}


def directories(config):
    return [upstream.directory for upstream in config.upstream]


def test_without_an_upstream_it_is_to_name_one_where_the_configuration_is_looked_for(environ, tmp_path):
    told = next_step(directories(load(None, environ)), None, environ)
    assert f"add an upstream to {tmp_path}/.config/waystation/config.toml" in told
    assert f"events go to files in {tmp_path}/.local/state/waystation/events" in told
    assert told.endswith("restart the daemon")


def test_the_machines_service_is_restarted_by_its_manager(environ):
    told = next_step(directories(load(None, environ)), SYSTEM_CONFIG, environ)
    assert told.endswith("systemctl restart waystation")


def test_nothing_is_told_once_events_go_somewhere(environ, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(
        '[[upstream]]\nname = "s"\nkind = "samsara"\nurl = "https://x.example/v1/events"\nsigning = "none"\n'
    )
    assert next_step(directories(load(file, environ)), file, environ) == ""


def test_another_users_spool_is_asked_for_as_root(environ, tmp_path, monkeypatch):
    config = load(None, {**environ, "STATE_DIRECTORY": str(tmp_path)})
    refuse_foreign(config)
    monkeypatch.setattr("os.access", lambda path, _: Path(path) != tmp_path)
    with pytest.raises(WaystationError, match="sudo waystation status"):
        refuse_foreign(config)
