"""gzip is undone within bounds, and what cannot be undone is refused."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
import zlib

import pytest

from collector.core.http import Answer
from collector.core.limits import MAX_GZIP_MEMBERS, RATIO_FREE_BYTES
from collector.listener.decode import BROKEN, TOO_LARGE, TOO_MANY, bound, gunzip, is_gzip, unknown_encoding

BODY = b'[{"timestamp": 1}]' * 100


@pytest.mark.parametrize("name", ["gzip", "GZIP", "x-gzip", " GZip ", "identity, gzip", "gzip,identity"])
def test_gzip_is_known_by_all_its_spellings(name):
    assert unknown_encoding(name) is None
    assert is_gzip(name)


@pytest.mark.parametrize("name", ["identity", "Identity", "", "identity,identity"])
def test_identity_is_plain(name):
    assert unknown_encoding(name) is None
    assert not is_gzip(name)


@pytest.mark.parametrize("name", ["br", "zstd", "deflate", "gzip, br", "gzip, gzip", "gzip;q=1"])
def test_any_other_is_refused_by_name(name):
    refusal = unknown_encoding(name)
    assert refusal.status == 415
    assert name.encode() in refusal.body
    assert refusal.headers == (("Accept-Encoding", "gzip, identity"),)


def undo(body, **options):
    return gunzip(body, max_bytes=options.get("max_bytes", bound(body)))


@contextlib.contextmanager
def peak_of_memory():
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield lambda: tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_one_member():
    assert undo(gzip.compress(BODY)) == BODY
    assert undo(gzip.compress(b"")) == b""


def test_several_members_are_one_body():
    stream = gzip.compress(BODY) + gzip.compress(b"") + gzip.compress(b"tail" * 100_000)
    assert undo(stream) == BODY + b"tail" * 100_000


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_stream_cut_short_is_refused(cut):
    assert undo(gzip.compress(b"some short body")[:-cut]) is BROKEN
    assert undo(gzip.compress(BODY) + gzip.compress(b"some short body")[:-cut]) in {BROKEN, BODY}


def test_every_cut_in_a_second_member_is_refused():
    first, second = gzip.compress(BODY), gzip.compress(b"second")
    for cut in range(1, len(second)):
        assert undo(first + second[:-cut]) is BROKEN


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(BODY, id="plain"),
        pytest.param(zlib.compress(BODY), id="zlib"),
        pytest.param(gzip.compress(BODY) + b"\0\0", id="padding"),
        pytest.param(gzip.compress(BODY) + b"garbage", id="garbage behind"),
        pytest.param(gzip.compress(BODY)[:-8] + b"\0" * 8, id="wrong checksum"),
        pytest.param(gzip.compress(BODY)[:-4] + b"\0" * 4, id="wrong length"),
    ],
)
def test_what_is_not_gzip_is_refused(stream):
    assert undo(stream) is BROKEN


@pytest.mark.parametrize("behind", [b"", gzip.compress(b"a", mtime=0)])
def test_the_bound_is_exact(behind):
    stream = behind + gzip.compress(b"x" * 1000)
    size = 1000 + bool(behind)
    assert undo(stream, max_bytes=size)[-1000:] == b"x" * 1000
    assert undo(stream, max_bytes=size - 1) is TOO_LARGE


def test_a_bomb_is_never_unpacked():
    bomb = gzip.compress(b"\0" * 30_000_000)
    for stream in (bomb, gzip.compress(b"a", mtime=0) + bomb, gzip.compress(b"\0" * 900_000) * 40):
        with peak_of_memory() as peak:
            assert undo(stream, max_bytes=1_000_000) is TOO_LARGE
            assert peak() < 4_000_000


def test_members_are_bounded():
    empty = gzip.compress(b"")
    assert undo(empty * MAX_GZIP_MEMBERS) == b""
    assert undo(empty * (MAX_GZIP_MEMBERS + 1)) is TOO_MANY
    many = empty * 500_000
    with peak_of_memory() as peak:
        assert undo(many) is TOO_MANY
        # zlib copies what is left behind each member; doing so with all of it each time would take seconds.
        assert peak() < len(many) * 1.5


def test_the_refusals_tell_clients_what_to_do():
    assert isinstance(BROKEN, Answer)
    assert (BROKEN.status, TOO_LARGE.status, TOO_MANY.status) == (400, 413, 413)


def test_what_unpacks_to_far_more_than_events_do_is_refused_before_it_is_unpacked():
    assert undo(gzip.compress(b"[" * RATIO_FREE_BYTES)) == b"[" * RATIO_FREE_BYTES
    assert undo(gzip.compress(b"[" * (RATIO_FREE_BYTES + 1))) is TOO_LARGE
