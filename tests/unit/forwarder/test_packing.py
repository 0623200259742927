from __future__ import annotations

import gzip
import os

from collector.forwarder.packing import FAST_LINK, QUICK_BYTES, TELLING_BYTES, Packer

BODY = b"".join(b'{"n":%d,"text":"%b"},' % (n, os.urandom(3).hex().encode()) for n in range(10_000))


def told(size: float, seconds: float) -> Packer:
    packer = Packer()
    packer.sent(int(size), seconds)
    return packer


def test_a_body_is_gzip_whatever_the_link():
    for packer in (Packer(), told(FAST_LINK, 1.0)):
        for body in (BODY, BODY[:100], b""):
            assert gzip.decompress(packer.pack(body)) == body


def test_a_link_that_is_not_known_or_slow_gets_the_smallest_bodies():
    smallest = Packer().pack(BODY)
    assert told(FAST_LINK - 1, 1.0).pack(BODY) == smallest
    assert told(FAST_LINK, 1.0).pack(BODY) != smallest


def test_a_small_body_tells_nothing_of_the_link():
    packer = told(FAST_LINK, 1.0)
    quick = packer.pack(BODY)
    packer.sent(TELLING_BYTES - 1, 60.0)
    assert packer.pack(BODY) == quick
    packer.sent(TELLING_BYTES, 60.0)
    assert packer.pack(BODY) == Packer().pack(BODY)


def test_a_small_body_takes_no_time_worth_sparing():
    small = BODY[: QUICK_BYTES - 1]
    assert told(FAST_LINK, 0.001).pack(small) == Packer().pack(small)


def test_the_same_bytes_come_of_the_same_body_each_time():
    packer = told(FAST_LINK, 1.0)
    assert packer.pack(BODY) == packer.pack(BODY)
