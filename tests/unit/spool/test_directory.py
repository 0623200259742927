"""A sync reaches the medium where it can, also where the system has a call of its own for that."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from collector.errors import SpoolUnavailable
from collector.spool import aside
from collector.spool.confirm import open_database
from collector.spool.directory import refused, sync, sync_directory, user_name

FULL_SYNC = 51
"""F_FULLFSYNC, as macOS numbers it."""


@pytest.fixture
def calls(monkeypatch):
    found = []
    monkeypatch.setattr(os, "fsync", lambda _: found.append("fsync"))
    return found


@pytest.fixture
def macos(monkeypatch, calls):
    """Has the call; yields what it is refused with, which the test may fill."""
    refusals = []

    def full_sync(_handle, command):
        assert command == FULL_SYNC
        calls.append("full")
        if refusals:
            raise OSError(refusals[0], "refused")

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", FULL_SYNC, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", full_sync)
    return refusals


def test_elsewhere_fsync_does_it(monkeypatch, calls, tmp_path):
    monkeypatch.delattr(fcntl, "F_FULLFSYNC", raising=False)
    sync_directory(tmp_path)
    assert calls == ["fsync"]


@pytest.mark.usefixtures("macos")
def test_on_macos_the_drive_is_told_too(calls, tmp_path):
    sync_directory(tmp_path)
    assert calls == ["full"]


def test_a_file_system_that_does_not_know_it_is_synced_as_far_as_it_goes(macos, calls):
    macos.append(errno.ENOTSUP)
    sync(0)
    assert calls == ["full", "fsync"]


def test_a_disk_that_refuses_is_not_asked_until_it_says_yes(macos, calls):
    macos.append(errno.EIO)
    with pytest.raises(OSError, match="refused"):
        sync(0)
    assert calls == ["full"]


def test_what_belongs_to_another_user_is_said_to(monkeypatch, tmp_path):
    own = os.geteuid()
    denied = PermissionError(errno.EACCES, "Permission denied")
    assert str(refused(tmp_path / "spool.lock", denied)).endswith("spool.lock: Permission denied")
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    assert str(refused(tmp_path / "spool.lock", denied)).endswith(
        f"spool.lock: Permission denied ({tmp_path} belongs to user {user_name(own)}, "
        f"and this runs as {user_name(own + 1)})"
    )


def test_a_user_without_a_name_is_a_number():
    assert user_name(4_123_456_789) == "4123456789"


def test_a_database_that_this_user_may_not_open_is_told_in_words(monkeypatch, tmp_path):
    path = tmp_path / "spool.db"

    def deny(_places):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(aside, "read_marker", deny)
    with pytest.raises(SpoolUnavailable) as caught:
        open_database(path, durability="full", upstreams=(), now=0)
    assert caught.value.reason == f"{path}: Permission denied"
