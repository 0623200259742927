"""The machine's service starts with a configuration that says what it would do without one."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.wishes import make_wish

from collector.config import paths
from collector.config.load import load
from collector.host.service.sites import configuration, environment


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_it_says_what_holds_without_it_so_that_commands_find_the_daemon(tmp_path, platform, monkeypatch):
    monkeypatch.setattr(paths, "SYSTEM_CONFIG", tmp_path / "none")
    (step,) = configuration(make_wish(tmp_path, platform=platform), platform)
    assert step.path == tmp_path / "etc/waystation/config.toml"
    (tmp_path / "written.toml").write_bytes(step.content)
    without = load(None, environment("system", {}, platform=platform))
    assert load(tmp_path / "written.toml", {"HOME": "/root"}) == without
    assert without.admin.bind == (f"unix:{paths.SYSTEM_RUNTIME[platform]}/admin.sock",)


def test_one_that_is_there_or_is_named_is_left_alone(tmp_path):
    assert configuration(make_wish(tmp_path, config_path=Path("/srv/w.toml")), "linux") == ()
    (step,) = configuration(make_wish(tmp_path), "linux")
    assert step.due(None)
    step.path.parent.mkdir(parents=True)
    step.path.write_text("# mine")
    assert not step.due(None)
