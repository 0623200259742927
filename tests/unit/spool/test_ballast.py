from __future__ import annotations

import errno
import os
import zlib

import pytest

from collector.errors import SpoolNoSpace, SpoolUnavailable
from collector.spool import ballast
from collector.spool.ballast import PIECE_BYTES, Ballast, free_bytes, has_room

SIZE = PIECE_BYTES + 5000


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ballast"


def test_it_is_real_bytes_that_nothing_can_compress(file):
    kept = Ballast(file)
    assert kept.size == 0
    kept.fill(SIZE)
    assert kept.size == file.stat().st_size == SIZE
    assert file.stat().st_blocks * 512 >= SIZE
    content = file.read_bytes()
    assert len(zlib.compress(content, 9)) > SIZE
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_is_there_stays_and_is_added_to(file):
    kept = Ballast(file)
    kept.fill(5000)
    before = file.read_bytes()
    kept.fill(4000)
    assert file.read_bytes() == before
    kept.fill(9000)
    assert file.read_bytes()[:5000] == before
    kept.cut(100)
    assert kept.size == 100
    kept.cut()
    assert kept.size == 0


def test_a_hole_is_no_ballast(file):
    with file.open("wb") as hole:
        hole.truncate(SIZE)
    kept = Ballast(file)
    assert kept.size == 0
    kept.fill(SIZE)
    assert b"\0" * 4096 not in file.read_bytes()


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.ENOSPC, SpoolNoSpace), (errno.EDQUOT, SpoolNoSpace), (errno.EIO, SpoolUnavailable)],
)
def test_a_disk_without_room_is_told_from_one_that_fails(file, monkeypatch, code, kind):
    def refuse(_descriptor, _content):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(ballast.os, "write", refuse)
    with pytest.raises(SpoolUnavailable) as refusal:
        Ballast(file).fill(SIZE)
    assert type(refusal.value) is kind
    assert has_room(file.parent) is (code == errno.EIO)


def test_probing_leaves_nothing_behind(tmp_path):
    assert has_room(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert free_bytes(tmp_path) > 0
    assert free_bytes(tmp_path / "nowhere") == 0


def test_a_probe_that_cannot_be_deleted_has_told_all_the_same(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    assert has_room(tmp_path)
