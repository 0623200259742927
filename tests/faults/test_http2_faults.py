"""Every way in which an answer over HTTP/2 can end early, over real sockets, and the ledger after each."""

from __future__ import annotations

import json

import pytest
from fakes.certificates import Authority
from fakes.forwarding import sending
from fakes.http2 import FAULTS, Http2Upstream
from fakes.lanes import balanced, site
from fakes.waiting import until

from collector.config.model import Backoff
from collector.demo.book import Book, Received

EVENTS = 12
QUICK = Backoff(initial=0.001, max=0.002)


class Keeper:
    """Answers the first requests by a script, and takes all further ones."""

    def __init__(self, *script, takes=False):
        self.book = Book({}, {})
        self.script = list(script)
        self.takes = takes
        self.reasons = []

    def __call__(self, request):
        answer = self.script.pop(0) if self.script else (202, b"")
        if self.takes or answer == (202, b""):
            headers = tuple((name.title(), value) for name, value in request.headers.items())
            self.book.take(Received("POST", "/v1/events", headers, bytes(request.body)))
        return answer


async def delivered(directory, upstream, authority, **options):
    """Deliver twelve events; the reasons that the lane told meanwhile."""
    reasons = set()
    options = {"ca_file": str(authority.file), "backoff": QUICK, "max_events": 8, **options}
    async with (
        upstream.serving(),
        sending(url=upstream.url, **options) as sender,
        site(directory, {sender._upstream: sender}) as here,
    ):
        await here.accept(5, 7)

        async def nothing_pending():
            reasons.add((await here.lane()).reason)
            return "pending" not in await here.ledger()

        await until(nothing_pending, "nothing is pending")
        ledger = await here.ledger()
    assert balanced(ledger)
    assert ledger == {"accepted": EVENTS, "delivered": EVENTS}
    return reasons


def assert_taken(keeper):
    """That each event arrived once, in order, and no other; repeats were known as such."""
    assert keeper.book.problems == []
    ((_, taken),) = keeper.book.taken.items()
    assert [json.loads(event)["n"] for event in taken.values()] == list(range(EVENTS))


@pytest.mark.parametrize("takes", [False, True], ids=["not taken", "taken"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_an_answer_that_ends_early_is_no_delivery_and_loses_nothing(tmp_path, fault, takes):
    authority = Authority(tmp_path)
    keeper = Keeper(fault, takes=takes)
    upstream = Http2Upstream(authority.server(), keeper)
    await delivered(tmp_path / "spool", upstream, authority)
    assert_taken(keeper)
    assert upstream.protocols[0] == "h2"
    first, second, *_ = upstream.requests
    names = ("idempotency-key", "waystation-batch")
    assert [first.headers[name] for name in names] == [second.headers[name] for name in names]


@pytest.mark.parametrize("answer", [(200, b"<form action=/login>"), (302, b""), (503, b""), (408, b"")])
async def test_verdicts_are_those_of_http1(tmp_path, answer):
    authority = Authority(tmp_path)
    keeper = Keeper(answer, answer)
    upstream = Http2Upstream(authority.server(), keeper)
    await delivered(tmp_path / "spool", upstream, authority)
    assert_taken(keeper)
    assert set(upstream.protocols) == {"h2"}
