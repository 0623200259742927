"""What an uninstallation leaves, it says; and it takes nothing that is not its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from fakes.service_managers import FakeLaunchd, FakeSystemd
from fakes.wishes import make_wish

from collector.config.model import Admin, Upstream
from collector.host.service import steps
from collector.host.service.launchd import Launchd
from collector.host.service.systemd import Systemd

SPOOL = (
    "spool.db",
    "spool.db-wal",
    "spool.db.corrupt-1",
    "spool.lock",
    "ballast",
    "events/e.ndjson",
    "admin.token",
)


@pytest.fixture(params=["linux", "darwin"])
def platform(request):
    return request.param


@pytest.fixture(params=["system", "user"])
def scope(request):
    return request.param


@pytest.fixture
def wish(tmp_path, platform, scope, monkeypatch):
    """An installation that has been used: with a spool, a configuration, logs, and sockets that were left."""
    monkeypatch.setattr(shutil, "chown", lambda *_: None)
    base = "" if scope == "system" else str(tmp_path / "home")
    if platform == "linux":
        state, run = f"{base}/var/lib/waystation", f"{base}/run/waystation"
    else:
        state = f"{base}/Library/Application Support/waystation"
        run = f"{state}/run"
    own = (
        Path("/etc/waystation")
        if scope == "system"
        else Path(state if platform == "darwin" else f"{base}/c/waystation")
    )
    asked = make_wish(tmp_path, scope, [{"bind": f"unix:{run}/waystation.sock"}], platform=platform)
    config = msgspec.structs.replace(
        asked.config,
        state_dir=state,
        admin=Admin(bind=(f"unix:{run}/admin.sock", "127.0.0.1:9010")),
        upstream=(Upstream(name="files", kind="file", directory=f"{base}/srv/out"),),
    )
    made = make_wish(
        tmp_path,
        scope,
        platform=platform,
        config=config,
        config_directory=own,
        config_path=tmp_path / "x/w.toml",
    )
    asked, machine = manager(made, platform)
    steps.carry_out(asked.install(made), lambda _: None, machine)
    places = [*(f"{state}/{name}" for name in SPOOL), f"{own}/config.toml", f"{own}/conf.d/x.toml"]
    places += [f"{run}/waystation.sock", f"{run}/admin.sock", f"{base}/srv/out/o.ndjson"]
    for place in places:
        path = tmp_path / place.removeprefix(str(tmp_path)).lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "x").mkdir()
    (tmp_path / "x/w.toml").touch()
    return made


def manager(wish, platform):
    units = wish.root / "etc/systemd/system" if wish.scope == "system" else wish.home / ".config/systemd/user"
    return (Systemd(), FakeSystemd(units)) if platform == "linux" else (Launchd(), FakeLaunchd())


def uninstall(wish, platform, *, purge):
    """What it told, and of that what is left."""
    asked, machine = manager(wish, platform)
    lines = []
    steps.carry_out(asked.uninstall(wish, purge=purge), lines.append, machine)
    return [line for line in lines if " kept: " in line], lines


def files(root):
    return {path for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("purge", [False, True])
def test_every_file_that_is_left_lies_in_a_place_that_is_told(wish, platform, purge):
    told, _ = uninstall(wish, platform, purge=purge)
    places = [Path(line.split(" kept: ")[1].split(" (uninstall")[0]) for line in told]
    for path in files(wish.root):
        assert any(place == path or place in path.parents for place in places), (path, told)
    assert len(set(places)) == len(places)
    assert all(place.exists() for place in places)


def test_events_and_configuration_stay(wish, platform):
    told, _ = uninstall(wish, platform, purge=False)
    left = {path.name for path in files(wish.root)}
    assert {"spool.db", "e.ndjson", "config.toml", "x.toml", "w.toml", "o.ndjson"} <= left
    assert not {"waystation.sock", "admin.sock"} & left
    assert [line for line in told if line.startswith("the events are kept: ")]
    assert len([line for line in told if line.startswith("the configuration is kept: ")]) >= 2


def test_purging_takes_the_spool_and_what_is_the_machines_and_nothing_else(wish, platform, scope):
    told, lines = uninstall(wish, platform, purge=True)
    left = {path.name for path in files(wish.root)}
    kept = {"w.toml", "o.ndjson"} | (set() if scope == "system" else {"config.toml", "x.toml"})
    assert left == kept
    assert not [line for line in told if line.startswith("the events")]
    assert "the spool and its events are gone" in lines


def test_another_files_directory_is_not_purged_with_the_spool(wish, platform, tmp_path):
    state = Path(wish.config.state_dir)
    place = wish.below_root(str(state)) if wish.scope == "system" else state
    (place / "holiday.jpg").touch()
    told, _ = uninstall(wish, platform, purge=True)
    assert (place / "holiday.jpg").exists()
    assert f"other files are kept: {place}" in told


def test_the_machines_account_is_told_of(wish, platform, scope):
    _, lines = uninstall(wish, platform, purge=True)
    assert any("remain" in line and "waystation" in line for line in lines) == (scope == "system")
