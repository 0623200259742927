"""A careful receiver takes what is genuine, each position once, and notes what should never happen."""

from __future__ import annotations

import gzip
import hashlib
import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.core.signing import SigningKey, content_digest, covered, sign
from collector.demo.book import Book, Received

KEY = Ed25519PrivateKey.generate()
PRODUCT = "a32e6578-17b7-11e4-930a-bc764e1c05e4"
URL = "http://127.0.0.1:8000/v1/events"
EVENTS = b'[{"n":0,"price":1.10}, {"n":1}]'


def book():
    return Book({"device": KEY.public_key()}, {PRODUCT: "s3cret"})


def batch(events=EVENTS, *, key="k1", first=0, last=1, lane="samsara/samsara", epoch="e", **more):
    """A request as Waystation makes it, not signed."""
    headers = {
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
        "Idempotency-Key": f'"{key}"',
        "Waystation-Device": '"d"',
        "Waystation-Batch": f'epoch="{epoch}", lane="{lane}", first={first}, last={last}',
    }
    return Received("POST", URL, tuple((headers | more).items()), gzip.compress(events, mtime=0))


def signed(request, *, key=KEY, key_id="device", age=0, without=()):
    headers = dict(request.headers) | {"Content-Digest": content_digest(request.body)}
    headers |= sign(
        method="POST",
        url=URL,
        headers=headers,
        components=[name for name in covered(headers) if name not in without],
        key=SigningKey(key_id=key_id, algorithm="ed25519", key=key),
        created=int(time.time_ns() / 1e9) - age,
    )
    return replace(request, headers=tuple(headers.items()))


def with_header(request, name, value):
    return replace(request, headers=tuple((dict(request.headers) | {name: value}).items()))


def test_genuine_batch_is_found_good():
    assert book().verify(signed(batch())) == (202, "")


def test_batch_that_replaces_another_is_found_good_where_that_is_signed_too():
    request = batch(**{"Waystation-Replaces": '"k0"'})
    assert book().verify(signed(request)) == (202, "")
    assert book().verify(with_header(signed(batch()), "Waystation-Replaces", '"k0"'))[0] == 401


@pytest.mark.parametrize(
    "forged",
    [
        batch(),
        signed(batch(), key=Ed25519PrivateKey.generate()),
        signed(batch(), key_id="somebody"),
        signed(batch(), age=600),
        signed(batch(), without=("content-digest",)),
        signed(batch(), without=("waystation-batch",)),
        replace(signed(batch()), body=gzip.compress(b"[]", mtime=0)),
        replace(signed(batch()), url=URL + "/elsewhere"),
        replace(signed(batch()), method="PUT"),
        with_header(signed(batch()), "Idempotency-Key", '"k2"'),
        with_header(
            signed(batch()), "Waystation-Batch", 'epoch="e", lane="samsara/samsara", first=2, last=3'
        ),
        with_header(signed(batch()), "Content-Digest", content_digest(b"another")),
        with_header(signed(batch()), "Signature", "waystation=:AAAA:"),
        with_header(signed(batch()), "Signature-Input", "nonsense"),
    ],
)
def test_what_is_not_as_it_was_signed_is_refused(forged):
    status, problem = book().verify(forged)
    assert status == 401
    assert problem


def product_batch(secret="s3cret", product=PRODUCT):
    auth = hashlib.md5(EVENTS + secret.encode()).hexdigest()
    headers = (("X-Product-Key", product), ("X-Product-Auth", auth))
    return Received("POST", URL, headers, EVENTS)


def test_products_batch_is_checked_by_the_products_secret():
    assert book().verify(product_batch()) == (200, "")
    assert book().verify(product_batch("another"))[0] == 401
    assert book().verify(replace(product_batch(), body=b"[]"))[0] == 401
    assert book().verify(product_batch(product="unknown"))[0] == 403


@pytest.mark.parametrize(
    "body", [b"", b"not gzip", gzip.compress(EVENTS, mtime=0)[:-3], gzip.compress(b"[{]", mtime=0)]
)
def test_body_that_cannot_be_read_is_refused(body):
    assert book().verify(replace(batch(), body=body))[0] == 400


def test_events_are_kept_as_they_came_by_position():
    taking = book()
    taking.take(batch())
    taking.take(batch(b'[{"n":2}]', key="k2", first=2, last=2))
    assert taking.taken == {
        ("d", "e", "samsara/samsara"): {0: b'{"n":0,"price":1.10}', 1: b'{"n":1}', 2: b'{"n":2}'}
    }
    assert taking.problems == []
    assert taking.repeats == []


def test_repeat_with_the_same_key_positions_and_body_is_recognised():
    taking = book()
    taking.take(batch())
    taking.take(replace(batch(), body=gzip.compress(EVENTS, 1)))  # compressed in another way
    (repeat,) = taking.repeats
    assert (repeat.key, repeat.events, repeat.recognised) == ("k1", 2, True)
    assert taking.problems == []


def test_repeat_under_another_key_is_not_recognised_and_taken_once_all_the_same():
    taking = book()
    taking.take(batch())
    taking.take(batch(b'[{"n":1},{"n":2}]', key="k2", first=1, last=2))
    (repeat,) = taking.repeats
    assert (repeat.key, repeat.events, repeat.recognised) == ("k2", 1, False)
    assert list(taking.taken["d", "e", "samsara/samsara"]) == [0, 1, 2]
    assert taking.problems == []


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (batch(b'[{"n":0,"price":1.1}, {"n":1}]'), "with another body"),
        (batch(first=2, last=3), "with other positions"),
        (batch(b'[{"n":0,"price":1.1}]', key="k2", last=0), "0 is another event than before"),
        (batch(key="k2", first=2, last=4), "2 events for positions 2 to 4"),
        (with_header(batch(), "Waystation-Batch", "first=0"), "no identity"),
        (with_header(batch(), "Idempotency-Key", "k1"), "no identity"),
        (Received("POST", URL, (), EVENTS), "no identity"),
    ],
)
def test_what_should_never_happen_is_noted(second, problem):
    taking = book()
    taking.take(batch())
    taking.take(second)
    assert any(problem in noted for noted in taking.problems), taking.problems
    assert not any(repeat.recognised for repeat in taking.repeats)


def test_position_behind_a_later_one_is_noted():
    taking = book()
    taking.take(batch(key="k1", first=4, last=5))
    taking.take(batch(key="k2", first=0, last=1))
    assert taking.problems == [
        "samsara/samsara: 0 came after 5",
        "samsara/samsara: 1 came after 5",
    ]


def test_positions_count_anew_in_another_epoch():
    taking = book()
    taking.take(batch())
    taking.take(batch(b'[{"n":7},{"n":8}]', key="k2", epoch="f"))
    assert taking.problems == []
    assert taking.repeats == []


def test_replaced_batch_may_differ_from_the_one_before():
    taking = book()
    taking.take(batch())
    taking.take(batch(b'[{"n":0},{"n":1}]', key="k2", **{"Waystation-Replaces": '"k1"'}))
    assert taking.problems == []
    assert [repeat.recognised for repeat in taking.repeats] == [False]
