"""Batches appended to files: delivered when synced, once each, in bounded space."""

from __future__ import annotations

import errno
import os

import pytest
from fakes.forwarding import inline, make_batch

from collector.core.verdict import Delivered, Retry
from collector.forwarder.file import FileSender
from collector.spool.directory import sync

LANE = "file/samsara"


class Disk:
    """Syncs, and remembers what; fails where it is told to."""

    def __init__(self):
        self.synced = []
        self.fail_at = None

    def __call__(self, handle):
        if self.fail_at is not None and len(self.synced) >= self.fail_at:
            raise OSError(errno.EIO, "Input/output error")
        self.synced.append(os.fstat(handle).st_ino)


def batch(number, lane=LANE):
    return make_batch(lane_name=lane, batch_id=f"{number:032x}")


def make(directory, **options):
    return FileSender(directory, run=inline, **options)


def content(directory, number=1, stem="file.samsara"):
    return (directory / f"{stem}.{number:06}.ndjson").read_bytes()


def names(directory):
    return sorted(path.name for path in directory.iterdir())


async def test_lines_are_appended_and_the_marker_says_how_far(tmp_path):
    sender = make(tmp_path)
    assert await sender.open_lane(LANE, None) == "1:0"
    first = await sender.attempt(batch(1), b'{"n":1}\n{"n":2}\n')
    second = await sender.attempt(batch(2), b'{"n":3}\n')
    assert (first.verdict, first.wrote_body, first.settled) == (Delivered(), True, "1:16")
    assert second.settled == "1:24"
    assert content(tmp_path) == b'{"n":1}\n{"n":2}\n{"n":3}\n'


async def test_lines_and_the_name_of_a_new_file_are_synced_before_they_count(tmp_path):
    disk = Disk()
    sender = make(tmp_path / "state" / "events", sync=disk)
    await sender.attempt(batch(1), b"1\n")
    directory = tmp_path / "state" / "events"
    file = directory / "file.samsara.000001.ndjson"
    expected = [tmp_path, tmp_path / "state", file, directory]
    assert disk.synced == [path.stat().st_ino for path in expected]
    disk.synced.clear()
    await sender.attempt(batch(2), b"2\n")
    assert disk.synced == [file.stat().st_ino]


async def test_real_files_and_directories_can_be_synced(tmp_path):
    sender = FileSender(tmp_path / "events", run=inline, sync=sync)
    assert (await sender.attempt(batch(1), b"1\n")).verdict == Delivered()


async def test_a_batch_whose_settling_was_interrupted_is_not_written_twice(tmp_path):
    sender = make(tmp_path)
    first = await sender.attempt(batch(1), b"1\n")
    again = await sender.attempt(batch(1), b"1\n")
    assert again == first
    assert content(tmp_path) == b"1\n"


async def test_a_start_cuts_off_what_was_never_settled(tmp_path):
    sender = make(tmp_path, max_file_bytes=10)
    settled = (await sender.attempt(batch(1), b"1\n")).settled
    await sender.attempt(batch(2), b"2\n")
    await sender.attempt(batch(3), b"3".ljust(9) + b"\n")
    assert names(tmp_path) == ["file.samsara.000001.ndjson", "file.samsara.000002.ndjson"]

    sender = make(tmp_path, max_file_bytes=10)
    assert await sender.open_lane(LANE, settled) == settled
    assert names(tmp_path) == ["file.samsara.000001.ndjson"]
    assert content(tmp_path) == b"1\n"
    assert (await sender.attempt(batch(2), b"2\n")).settled == "1:4"


async def test_a_first_attempt_that_was_never_settled_is_cut_off_if_its_marker_was_kept(tmp_path):
    sender = make(tmp_path)
    kept = await sender.open_lane(LANE, None)
    await sender.attempt(batch(1), b"1\n")

    sender = make(tmp_path)
    assert await sender.open_lane(LANE, kept) == "1:0"
    assert (await sender.attempt(batch(1), b"1\n")).settled == "1:2"
    assert content(tmp_path) == b"1\n"


async def test_files_of_an_earlier_spool_are_kept(tmp_path):
    await make(tmp_path).attempt(batch(1), b"old\n")
    sender = make(tmp_path)
    assert await sender.open_lane(LANE, None) == "2:0"
    assert (await sender.attempt(batch(2), b"new\n")).settled == "2:4"
    assert (content(tmp_path, 1), content(tmp_path, 2)) == (b"old\n", b"new\n")


@pytest.mark.parametrize("marker", ["", "nonsense", "1:-5", "1:2:3", "99999999999999:0"])
async def test_a_marker_that_cannot_be_read_cuts_nothing(tmp_path, marker):
    await make(tmp_path).attempt(batch(1), b"old\n")
    assert await make(tmp_path).open_lane(LANE, marker) == "2:0"
    assert content(tmp_path) == b"old\n"


async def test_a_file_that_was_taken_away_is_followed_by_the_next(tmp_path):
    sender = make(tmp_path)
    settled = (await sender.attempt(batch(1), b"1\n")).settled
    (tmp_path / "file.samsara.000001.ndjson").unlink()
    assert (await sender.attempt(batch(2), b"2\n")).settled == "2:2"
    assert await make(tmp_path).open_lane(LANE, settled) == "2:0"


async def test_a_file_that_was_emptied_is_left_alone(tmp_path):
    sender = make(tmp_path)
    settled = (await sender.attempt(batch(1), b"1\n")).settled
    (tmp_path / "file.samsara.000001.ndjson").write_bytes(b"")
    assert (await sender.attempt(batch(2), b"2\n")).settled == "2:2"
    assert content(tmp_path, 1) == b""
    assert await make(tmp_path).open_lane(LANE, settled) == "2:0"


@pytest.mark.parametrize(
    ("bodies", "markers"),
    [
        ([b"1\n", b"2\n", b"3\n"], ["1:2", "1:4", "2:2"]),
        ([b"1\n", b"larger than any\n", b"3\n"], ["1:2", "2:16", "3:2"]),
    ],
)
async def test_a_file_that_would_grow_too_large_is_followed_by_the_next(tmp_path, bodies, markers):
    sender = make(tmp_path, max_file_bytes=4)
    for number, (body, marker) in enumerate(zip(bodies, markers, strict=True)):
        assert (await sender.attempt(batch(number), body)).settled == marker


async def test_a_file_that_someone_put_in_the_way_is_left_alone(tmp_path):
    sender = make(tmp_path, max_file_bytes=4)
    await sender.attempt(batch(1), b"123\n")
    (tmp_path / "file.samsara.000002.ndjson").write_bytes(b"theirs")
    assert (await sender.attempt(batch(2), b"2\n")).settled == "3:2"
    assert content(tmp_path, 2) == b"theirs"


async def test_a_full_directory_waits_until_files_are_taken_away(tmp_path):
    sender = make(tmp_path, max_file_bytes=4, max_files=2)
    for number in range(4):
        assert (await sender.attempt(batch(number), b"x\n")).verdict == Delivered()
    (tmp_path / "notes.txt").write_bytes(b"not counted")
    full = await sender.attempt(batch(4), b"x\n")
    assert isinstance(full.verdict, Retry)
    assert not full.verdict.breaker
    assert "full" in full.verdict.reason
    assert not full.wrote_body
    (tmp_path / "file.samsara.000001.ndjson").unlink()
    assert (await sender.attempt(batch(4), b"x\n")).settled == "3:2"


async def test_an_event_that_no_file_can_hold_says_what_to_raise(tmp_path):
    sender = make(tmp_path, max_file_bytes=4, max_files=2)
    assert "takes 9: raise max_file_bytes" in (await sender.attempt(batch(1), b"12345678\n")).verdict.reason
    await sender.attempt(batch(1), b"1234567\n")
    assert "raise" not in (await sender.attempt(batch(2), b"1\n")).verdict.reason


async def test_lanes_share_the_directorys_bound(tmp_path):
    sender = make(tmp_path, max_file_bytes=4, max_files=1)
    await sender.attempt(batch(1), b"123\n")
    other = await sender.attempt(batch(2, "file/traintracks/game"), b"1\n")
    assert isinstance(other.verdict, Retry)


async def test_what_a_failed_sync_left_behind_is_cut_off_before_the_next_attempt(tmp_path):
    disk = Disk()
    sender = make(tmp_path, sync=disk)
    await sender.attempt(batch(1), b"1\n")
    disk.fail_at = len(disk.synced)
    failed = await sender.attempt(batch(2), b"22\n")
    assert isinstance(failed.verdict, Retry)
    assert failed.verdict.reason == f"cannot write to {tmp_path}: Input/output error"
    assert failed.wrote_body
    assert failed.settled is None
    assert content(tmp_path) == b"1\n22\n"
    still = await sender.attempt(batch(3), b"3\n")  # cut back, and that sync fails as well
    assert isinstance(still.verdict, Retry)
    assert not still.wrote_body
    disk.fail_at = None
    assert (await sender.attempt(batch(2), b"22\n")).settled == "1:5"
    assert content(tmp_path) == b"1\n22\n"


async def test_what_a_failed_sync_left_behind_is_cut_off_even_if_the_next_file_follows(tmp_path):
    disk = Disk()
    sender = make(tmp_path, sync=disk, max_file_bytes=6)
    await sender.attempt(batch(1), b"1\n")
    disk.fail_at = len(disk.synced)
    await sender.attempt(batch(2), b"22\n")
    disk.fail_at = None
    assert (await sender.attempt(batch(3), b"33333\n")).settled == "2:6"
    assert content(tmp_path) == b"1\n"


async def test_what_a_failed_sync_left_behind_takes_no_room(tmp_path):
    disk = Disk()
    sender = make(tmp_path, sync=disk, max_file_bytes=4, max_files=1)
    await sender.attempt(batch(1), b"1\n")
    disk.fail_at = len(disk.synced)
    await sender.attempt(batch(2), b"2\n")
    disk.fail_at = None
    assert (await sender.attempt(batch(2), b"2\n")).verdict == Delivered()


async def test_a_new_file_whose_name_was_not_synced_is_no_delivery(tmp_path):
    disk = Disk()
    sender = make(tmp_path, sync=disk)
    disk.fail_at = 1  # the file passes, its directory does not
    assert isinstance((await sender.attempt(batch(1), b"1\n")).verdict, Retry)
    disk.fail_at = None
    assert (await sender.attempt(batch(1), b"1\n")).settled == "1:2"
    assert content(tmp_path) == b"1\n"


async def test_a_directory_that_cannot_be_made_is_retried(tmp_path):
    (tmp_path / "events").write_bytes(b"a file")
    outcome = await make(tmp_path / "events" / "here").attempt(batch(1), b"1\n")
    assert isinstance(outcome.verdict, Retry)
    assert not outcome.wrote_body


@pytest.mark.parametrize(
    ("lane", "stem"),
    [
        ("file/samsara", "file.samsara"),
        ("file/traintracks/a32e6578-17b7", "file.traintracks.a32e6578-17b7"),
        ("file/traintracks/game.1", "file.traintracks.game.1"),
    ],
)
async def test_a_lanes_files_carry_its_name(tmp_path, lane, stem):
    await make(tmp_path).attempt(batch(1, lane), b"1\n")
    assert names(tmp_path) == [f"{stem}.000001.ndjson"]


async def test_products_that_differ_in_case_alone_have_files_that_do_not(tmp_path):
    sender = make(tmp_path)
    for number, product in enumerate(["game", "Game", "GAME"]):
        await sender.attempt(batch(number, f"file/traintracks/{product}"), b"1\n")
    assert len({name.lower() for name in names(tmp_path)}) == 3


async def test_a_product_named_like_a_number_has_files_of_its_own(tmp_path):
    sender = make(tmp_path)
    await sender.attempt(batch(1, "file/traintracks/a"), b"a\n")
    await sender.attempt(batch(2, "file/traintracks/a.000001"), b"b\n")
    sender = make(tmp_path)
    assert await sender.open_lane("file/traintracks/a", "1:2") == "1:2"
    assert content(tmp_path, stem="file.traintracks.a.000001") == b"b\n"


async def test_files_are_not_open_to_others(tmp_path):
    await make(tmp_path / "events").attempt(batch(1), b"1\n")
    assert (tmp_path / "events").stat().st_mode & 0o007 == 0
    assert (tmp_path / "events" / "file.samsara.000001.ndjson").stat().st_mode & 0o137 == 0


async def test_a_pipe_in_a_files_place_is_waited_for_by_nobody(tmp_path):
    sender = make(tmp_path)
    await sender.open_lane(LANE, None)
    os.mkfifo(tmp_path / "file.samsara.000001.ndjson")
    outcome = await sender.attempt(batch(1), b'{"n":1}\n')
    assert isinstance(outcome.verdict, Retry)
