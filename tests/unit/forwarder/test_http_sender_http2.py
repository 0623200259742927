"""HTTP/2, where the upstream offers it: the same verdicts, and no connection that is dead is used again."""

from __future__ import annotations

import gzip

import pytest
import trio
from fakes.certificates import make_certificate
from fakes.forwarding import make_batch, make_body, sending
from fakes.http2 import Http2Upstream
from fakes.upstream import Upstream

from collector.config.model import Timeouts
from collector.core.verdict import Delivered, Retry, Split


@pytest.fixture
def certified(tmp_path):
    return make_certificate(tmp_path)


def answering(*answers):
    left = list(answers)
    return lambda _: left.pop(0) if left else (202, b"")


async def test_batches_share_one_connection(certified):
    certificate, tls = certified
    async with (
        Http2Upstream(tls).serving() as upstream,
        sending(url=upstream.url, ca_file=str(certificate)) as sender,
        trio.open_nursery() as nursery,
    ):
        verdicts = []

        async def attempt(first):
            verdicts.append((await sender.attempt(make_batch(first=first), make_body(2, first))).verdict)

        await attempt(0)
        for first in (2, 4, 6):
            nursery.start_soon(attempt, first)
    assert verdicts == [Delivered()] * 4
    assert upstream.protocols == ["h2"]
    assert sorted(gzip.decompress(request.body) for request in upstream.requests) == sorted(
        make_body(2, first) for first in (0, 2, 4, 6)
    )
    assert upstream.requests[0].headers[":authority"] == upstream.url.split("/")[2]


async def test_http1_is_spoken_where_http2_is_not_offered_or_not_wanted(certified):
    certificate, tls = certified
    with Upstream(tls=tls) as fake:
        async with sending(url=fake.url, ca_file=str(certificate)) as sender:
            assert (await sender.attempt(make_batch(), make_body())).verdict == Delivered()
    async with (
        Http2Upstream(tls).serving() as upstream,
        sending(url=upstream.url, ca_file=str(certificate), http2=False) as sender,
    ):
        assert (await sender.attempt(make_batch(), make_body())).verdict == Delivered()
    assert upstream.protocols == ["http/1.1"]


@pytest.mark.parametrize("answer", ["reset", "goaway"])
async def test_where_http2_fails_the_next_attempt_speaks_http1(certified, answer):
    certificate, tls = certified
    async with (
        Http2Upstream(tls, answering(answer)).serving() as upstream,
        sending(url=upstream.url, ca_file=str(certificate)) as sender,
    ):
        outcome = await sender.attempt(make_batch(), make_body())
        assert isinstance(outcome.verdict, Retry)
        assert outcome.wrote_body
        assert (await sender.attempt(make_batch(), make_body())).verdict == Delivered()
    assert upstream.protocols == ["h2", "http/1.1"]


async def test_an_answer_before_the_body_was_sent_is_heard_by_http1(certified):
    certificate, tls = certified
    body = b"[" + b" " * 1_000_000 + b"]"
    async with (
        Http2Upstream(tls, lambda _: (413, b""), early=True).serving() as upstream,
        sending(
            url=upstream.url, ca_file=str(certificate), compress=False, timeouts=Timeouts(read=0.3)
        ) as sender,
    ):
        with trio.fail_after(60):
            while isinstance(verdict := (await sender.attempt(make_batch(), body)).verdict, Retry):
                assert upstream.requests != []
    assert isinstance(verdict, Split)
    assert upstream.protocols[0] == "h2"


async def test_a_connection_on_which_nothing_comes_is_not_used_again(certified):
    certificate, tls = certified
    async with (
        Http2Upstream(tls, lambda _: None).serving() as upstream,
        sending(url=upstream.url, ca_file=str(certificate), timeouts=Timeouts(read=0.1)) as sender,
    ):
        outcome = await sender.attempt(make_batch(), make_body())
        assert isinstance(outcome.verdict, Retry)
        assert outcome.verdict.breaker
        await sender.attempt(make_batch(), make_body())
        # It may be some time until the upstream sees a connection; the attempt has long ended then.
        with trio.fail_after(60):
            while len(upstream.protocols) < 2:  # noqa: ASYNC110
                await trio.sleep(0.01)


async def test_a_connection_on_which_an_attempt_was_given_up_is_not_used_again(certified):
    certificate, tls = certified
    async with (
        Http2Upstream(tls).serving() as upstream,
        sending(url=upstream.url, ca_file=str(certificate)) as sender,
    ):
        with trio.CancelScope() as given_up:
            upstream.answer = lambda _: given_up.cancel()
            await sender.attempt(make_batch(), make_body())
        upstream.answer = answering()
        assert (await sender.attempt(make_batch(), make_body())).verdict == Delivered()
    assert upstream.protocols == ["h2", "h2"]
