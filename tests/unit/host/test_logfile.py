"""The log that launchd has the daemon write stays short."""

from __future__ import annotations

import os
from contextlib import contextmanager

import trio

from collector.host.logfile import keep_short, rotate


@contextmanager
def appended(path):
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_what_is_too_long_is_put_aside_and_writing_goes_on(tmp_path):
    log = tmp_path / "waystation.log"
    with appended(log) as descriptor:
        for number in range(6):
            os.write(descriptor, b"%d" % number * 20)
            assert rotate(descriptor, max_bytes=10, kept=3)
            assert log.read_bytes() == b""
        os.write(descriptor, b"next")
    assert log.read_bytes() == b"next"
    kept = {path.name: path.read_bytes()[:1] for path in tmp_path.iterdir() if path != log}
    assert kept == {"waystation.log.1": b"5", "waystation.log.2": b"4", "waystation.log.3": b"3"}


def test_a_short_log_and_what_is_no_file_are_let_alone(tmp_path):
    with appended(tmp_path / "log") as descriptor:
        os.write(descriptor, b"short")
        assert not rotate(descriptor, max_bytes=10)
    reading, writing = os.pipe()
    assert not rotate(writing, max_bytes=0)
    os.close(reading)
    os.close(writing)


async def test_only_a_job_of_launchd_looks_after_its_log(autojump_clock):
    with trio.fail_after(1):
        await keep_short({})
        await keep_short({"XPC_SERVICE_NAME": "0"})
