"""A sync reaches the medium where it can, also where the system has a call of its own for that."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from collector.spool.directory import sync, sync_directory

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
