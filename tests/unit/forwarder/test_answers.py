"""Answers of any length and in any coding, over real sockets: only a whole one says anything."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
import trio
from fakes.forwarding import make_batch, make_body, sending
from fakes.tcp import serving
from fakes.upstream import Behaviour

from collector.config.model import Timeouts
from collector.core.reply import MAX_NAMED
from collector.core.verdict import Blocked, Delivered, Rejected, Retry
from collector.forwarder.link.answer import LONGEST_ANSWER_BYTES, MAX_ANSWER_BYTES

PAGE = b"<!doctype html><title>Hotel</title>" + b"<p>Welcome</p>" * 100


async def outcome_of(fake, behaviour, *, events=2, **options):
    fake.script(behaviour)
    async with sending(url=fake.url, **options) as sender:
        return await sender.attempt(make_batch(events=events), make_body(events))


def padded(size):
    """JSON of so many bytes."""
    return b'{"status":"OK"}'.ljust(size)


SIZES = [MAX_ANSWER_BYTES - 1, MAX_ANSWER_BYTES, MAX_ANSWER_BYTES + 1, LONGEST_ANSWER_BYTES]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_long_answer_is_believed_once_it_came_whole(fake, size, chunked):
    outcome = await outcome_of(fake, Behaviour(status=202, body=padded(size), chunked=chunked))
    assert outcome.verdict == Delivered()


@pytest.mark.parametrize("size", [100, *SIZES])
@pytest.mark.parametrize("missing", [1, 50])
@pytest.mark.parametrize("chunked", [False, True])
async def test_an_answer_that_is_cut_is_no_delivery_however_long_it_is(fake, size, missing, chunked):
    cut = Behaviour(status=202, body=padded(size), missing=missing, chunked=chunked)
    verdict = (await outcome_of(fake, cut)).verdict
    assert isinstance(verdict, Retry)
    assert verdict.reason.startswith("the connection broke before the whole answer came: ")
    assert not verdict.breaker


@pytest.mark.parametrize("status", [202, 400])
async def test_an_answer_that_is_longer_than_any_is_read_no_further_and_counts_as_none(fake, status):
    body = padded(LONGEST_ANSWER_BYTES + 1)
    outcome = await outcome_of(fake, Behaviour(status=status, body=body))
    assert outcome.verdict == Retry(f"the answer is too long: over 4 MiB, with http {status}")


@pytest.mark.parametrize("status", [202, 400])
async def test_an_endless_answer_is_given_up(fake, status):
    with trio.fail_after(60):
        outcome = await outcome_of(fake, Behaviour(status=status, flood=True))
    assert outcome.verdict == Retry(f"the answer is too long: over 4 MiB, with http {status}")


async def test_a_long_answer_has_no_longer_than_the_attempt(fake):
    fake.script(Behaviour(status=202, body=padded(MAX_ANSWER_BYTES), drip=0.01))
    async with sending(url=fake.url, timeouts=Timeouts(total=0.5)) as sender:
        outcome = await sender.attempt(make_batch(), make_body())
    assert isinstance(outcome.verdict, Retry)
    assert outcome.verdict.reason.startswith("timed out: no whole answer within ")


async def test_verdicts_on_the_largest_batch_are_read(fake):
    verdicts = ["OK"] * 19_999 + ["bad"]
    answer = Behaviour(status=400, body=json.dumps(verdicts).encode())
    assert 64 * 1024 < len(answer.body) < MAX_ANSWER_BYTES
    outcome = await outcome_of(fake, answer, events=20_000)
    assert isinstance(outcome.verdict, Rejected)
    assert outcome.verdict.named == ((19_999, "bad"),)


@pytest.mark.parametrize("told", ["OK", '{"id":"0123456789abcdef","status":"accepted"}'])
async def test_an_upstream_may_have_something_to_say_of_each_event_of_a_large_batch(fake, told):
    body = json.dumps([told] * 250_000).encode()
    assert len(body) > LONGEST_ANSWER_BYTES or told == "OK"
    outcome = await outcome_of(fake, Behaviour(status=202, body=body), events=250_000)
    assert outcome.verdict == Delivered()


async def test_verdicts_on_a_batch_of_more_events_than_a_request_may_have_are_read(fake):
    body = json.dumps(["OK"] * 249_999 + ["bad"]).encode()
    outcome = await outcome_of(fake, Behaviour(status=400, body=body), events=250_000)
    assert isinstance(outcome.verdict, Rejected)
    assert outcome.verdict.named == ((249_999, "bad"),)


async def test_no_more_events_are_named_than_are_kept(fake):
    body = json.dumps(["bad"] * 20_000).encode()
    outcome = await outcome_of(fake, Behaviour(status=400, body=body), events=20_000)
    assert isinstance(outcome.verdict, Rejected)
    assert outcome.verdict.named == tuple((index, "bad") for index in range(MAX_NAMED))


async def test_names_beyond_what_is_kept_are_not_guessed(fake):
    for verdicts in (["OK", "bad".ljust(MAX_ANSWER_BYTES)], ["OK", "bad"]):
        body = json.dumps(verdicts).encode().ljust(MAX_ANSWER_BYTES + 1)
        outcome = await outcome_of(fake, Behaviour(status=400, body=body))
        assert isinstance(outcome.verdict, Rejected)
        assert outcome.verdict.named == ()


async def test_an_answer_without_a_length_ends_with_its_connection(fake):
    assert (await outcome_of(fake, Behaviour(status=202, until_closed=True))).verdict == Delivered()
    outcome = await outcome_of(fake, Behaviour(status=202, until_closed=True, body=PAGE))
    assert isinstance(outcome.verdict, Blocked)


DEFLATED = zlib.compress(PAGE)
CODED = {
    "gzip": ({"Content-Encoding": "gzip"}, gzip.compress(PAGE)),
    "gzip in capitals": ({"Content-Encoding": " GZIP, identity"}, gzip.compress(PAGE)),
    "x-gzip": ({"Content-Encoding": "x-gzip"}, gzip.compress(PAGE)),
    "gzip, and it does not say so": ({}, gzip.compress(PAGE)),
    "gzip, as JSON": ({"Content-Type": "application/json"}, gzip.compress(PAGE)),
    "deflate": ({"Content-Encoding": "deflate"}, DEFLATED),
    "gzip, longer than is kept": (
        {"Content-Encoding": "gzip"},
        gzip.compress(PAGE + bytes(MAX_ANSWER_BYTES)),
    ),
}
UNREADABLE = {
    "brotli": ({"Content-Encoding": "br"}, b"\x0b\x02\x80{}\x0a\x03"),
    "gzip twice": ({"Content-Encoding": "gzip, gzip"}, gzip.compress(gzip.compress(PAGE))),
    "gzip, and it is none": ({"Content-Encoding": "gzip"}, b'{"status":"OK"}'),
    "gzip, cut short": ({"Content-Encoding": "gzip"}, gzip.compress(b'{"status":"OK"}')[:-9]),
}


@pytest.mark.parametrize(("headers", "body"), CODED.values(), ids=CODED)
@pytest.mark.parametrize("status", [202, 400])
async def test_a_page_is_known_in_a_coding_that_nobody_asked_for(fake, status, headers, body):
    outcome = await outcome_of(fake, Behaviour(status=status, headers=headers, body=body))
    assert isinstance(outcome.verdict, Blocked)
    assert outcome.verdict.whole_upstream
    assert "with an HTML page: a captive portal" in outcome.verdict.reason


@pytest.mark.parametrize(("headers", "body"), UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("status", [202, 400])
async def test_what_cannot_be_read_is_no_delivery_and_no_verdict_on_events(fake, status, headers, body):
    outcome = await outcome_of(fake, Behaviour(status=status, headers=headers, body=body))
    assert isinstance(outcome.verdict, Blocked)
    assert "in a coding that cannot be read" in outcome.verdict.reason


async def test_an_answer_in_gzip_is_read(fake):
    headers = {"Content-Encoding": "gzip"}
    assert (await outcome_of(fake, Behaviour(status=202, headers=headers))).verdict == Delivered()
    success = Behaviour(status=202, headers=headers, body=gzip.compress(b'{"status":"OK"}'))
    assert (await outcome_of(fake, success)).verdict == Delivered()
    refused = Behaviour(status=400, headers=headers, body=gzip.compress(b'["OK","bad"]'))
    assert (await outcome_of(fake, refused)).verdict.named == ((1, "bad"),)


CUT = {
    "a status line": b"HTTP/1.1 202",
    "a status line, at its end": b"HTTP/1.1 202 OK\r\n",
    "headers": b"HTTP/1.1 202 OK\r\nContent-Length: 0\r\n",
    "headers, before the last byte": b"HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r",
    "a body": b"HTTP/1.1 202 OK\r\nContent-Length: 2\r\n\r\n{",
    "chunks": b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "chunks, before their end": b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    "behind a hint": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
}
ODD = {
    "two lengths": b"HTTP/1.1 202 OK\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\n",
    "a length beyond all": b"HTTP/1.1 202 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "another transfer coding": b"HTTP/1.1 202 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "endless headers": b"HTTP/1.1 202 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    "no HTTP": b"<html>login</html>",
}


@pytest.mark.parametrize("answer", [*CUT.values(), *ODD.values()], ids=[*CUT, *ODD])
async def test_what_is_no_whole_answer_is_no_delivery(answer):
    async def upstream(stream):
        data = b""
        while not data.endswith(make_body()):
            data += await stream.receive_some()
        await stream.send_all(answer)
        await stream.aclose()

    async with serving(upstream) as port:
        url = f"http://127.0.0.1:{port}/"
        async with sending(url=url, compress=False, timeouts=Timeouts(read=600, total=600)) as sender:
            outcome = await sender.attempt(make_batch(), make_body())
    assert isinstance(outcome.verdict, Retry)
    assert outcome.verdict.reason.startswith("the connection broke before the whole answer came: ")
