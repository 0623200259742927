"""The demo's apps: what got no answer is never counted as acknowledged, and a refusal ends the demo."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from collector.demo import wire
from collector.demo.payloads import generated
from collector.demo.posting import Posting
from collector.demo.wire import Message
from collector.errors import DemoFailed


class FakeDaemon:
    """Listens on one port for both ways, and does with a request what it is told."""

    def __init__(self, answer):
        self.starts = 1
        self.is_up = True
        self.port = 0
        self.requests = []
        self._answer = answer

    async def address(self, way):
        assert way in {"tcp", "unix"}
        return f"127.0.0.1:{self.port}"

    def last_words(self):
        return "its last words"

    async def answer(self, request):
        self.requests.append(request)
        return self._answer(self, request)


@asynccontextmanager
async def posting_to(answer):
    daemon = FakeDaemon(answer)
    async with trio.open_nursery() as nursery:

        async def connection(stream):
            await wire.serve(stream, daemon.answer)

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        daemon.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, connection, [listener])
        with trio.fail_after(10):
            yield Posting(daemon, secret="s3cret", now_ms=lambda: 1_792_000_000_000), daemon
        nursery.cancel_scope.cancel()


def success(_, request):
    return Message(status=200 if request.header("X-Product-Key") else 202)


def requests(app=0):
    return generated(400, seed=1, now_ms=1_792_000_000_000)[app]


@pytest.mark.parametrize("app", range(4))
async def test_success_is_acknowledged_request_by_request(app):
    told = []
    async with posting_to(success) as (posting, daemon):
        posting.on_acknowledged = lambda: told.append(posting.acknowledged)
        await posting.post_all(requests(app))
    assert posting.acknowledged == 100
    assert told == sorted(told)
    assert [post.events for post in posting.posts] == [request.events for request in requests(app)]
    assert [request.body for request in daemon.requests] == [request.content for request in requests(app)]
    ticks = [tick for post in posting.posts for tick in (post.begun, post.answered)]
    assert ticks == sorted(set(ticks))


async def test_traintracks_is_signed_on_the_port_and_not_on_the_socket():
    async with posting_to(success) as (posting, daemon):
        for app in (1, 3):
            await posting.post_all(requests(app)[:1])
    assert [bool(request.header("X-Product-Auth")) for request in daemon.requests] == [True, False]


async def test_request_without_an_answer_is_kept_as_such_and_the_next_goes_to_the_restarted_daemon():
    def die_once(daemon, request):
        if daemon.starts == 1:
            daemon.starts = 2  # killed and started again while the request was under way
            return None
        return success(daemon, request)

    async with posting_to(die_once) as (posting, _):
        await posting.post_all(requests())
    assert [post.answered is None for post in posting.posts] == [True] + [False] * (len(requests()) - 1)
    assert posting.acknowledged == 100 - len(requests()[0].events)


async def test_daemon_that_hangs_up_without_having_been_killed_fails_the_demo():
    async with posting_to(lambda *_: None) as (posting, _):
        with pytest.raises(DemoFailed, match="closed without an answer\nits last words"):
            await posting.post_all(requests())


@pytest.mark.parametrize("status", [400, 503, 200])
async def test_refusal_fails_the_demo_and_is_told(status):
    async with posting_to(lambda *_: Message(status=status, body=b"because")) as (posting, _):
        with pytest.raises(DemoFailed, match=f"answered {status}: because"):
            await posting.post_all(requests())
    assert posting.acknowledged == 0
