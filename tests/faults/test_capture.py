"""Every way in which an upstream can fail, over real sockets: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import gzip
import json
from contextlib import asynccontextmanager

import pytest
from fakes.capture import FORM, LOGIN, LOST, PORTAL, STATUSES, Capture, cuts
from fakes.certificates import Authority
from fakes.forwarding import sending
from fakes.lanes import balanced, site
from fakes.upstream import Behaviour
from fakes.waiting import until

from collector.config.model import Backoff, Timeouts
from collector.forwarder.link.answer import LONGEST_ANSWER_BYTES, MAX_ANSWER_BYTES

EVENTS = 12
QUICK = Backoff(initial=0.001, max=0.002)
HTML = Behaviour(status=202, headers={"Content-Type": "text/html"}, body=b"<!DOCTYPE html><p>OK")


@pytest.fixture
def capture():
    with Capture() as upstream:
        yield upstream


class Audited:
    """A sender that looks into the ledger before each attempt, which is after each failure.

    Attributes:
        here: whose ledger, once it is there.
        audits: how often it looked.
        problems: what it found wrong.
    """

    def __init__(self, sender):
        self._sender = sender
        self.here = None
        self.audits = 0
        self.problems = []

    async def attempt(self, batch, body):
        ledger = await self.here.ledger()
        ended = ledger.get("delivered", 0) + ledger.get("dead", 0)
        # One lane, from the first position on: all before the batch has ended, and nothing behind it.
        if not balanced(ledger) or ended != batch.first:
            self.problems.append(f"before the attempt at {batch.first} to {batch.last}: {ledger}")
        self.audits += 1
        return await self._sender.attempt(batch, body)

    async def aclose(self):
        await self._sender.aclose()


@asynccontextmanager
async def forwarding(directory, capture, **options):
    """A lane on its way to the upstream, on the real clock."""
    options = {"url": capture.url, "backoff": QUICK, "max_events": 8, **options}
    async with sending(**options) as sender:
        audited = Audited(sender)
        async with site(directory, {sender._upstream: audited}) as here:
            audited.here = here
            yield here
        assert audited.audits > 0
        assert audited.audits >= len(capture.received)


async def settled(here):
    """Wait until nothing is pending; the ledger then."""

    async def nothing_pending():
        return "pending" not in await here.ledger()

    await until(nothing_pending, "nothing is pending")
    ledger = await here.ledger()
    assert balanced(ledger)
    return ledger


def assert_taken(capture, numbers):
    """That each of these events arrived once, in order, and no other."""
    assert capture.book.problems == []
    ((_, taken),) = capture.book.taken.items()
    assert [json.loads(event)["n"] for event in taken.values()] == list(numbers)
    assert list(taken) == list(numbers)


FAILURES = {
    "cut at each byte": list(cuts()),
    "each status": [Behaviour(status=status) for status in STATUSES],
    "each status but as a page": [
        Behaviour(status=status, headers={"Content-Type": "text/html"}, body=b"<html>") for status in STATUSES
    ],
    "reset": [Behaviour(reset=True), Behaviour(reset=True, cut=20), Behaviour(reset=True, cut="body")],
    "lost answers": [LOST] * 5,
    "cut behind what is kept of it": [
        Behaviour(status=202, body=b"[]".ljust(size), missing=1, chunked=chunked)
        for size in (MAX_ANSWER_BYTES, MAX_ANSWER_BYTES + 1, 2 * MAX_ANSWER_BYTES)
        for chunked in (False, True)
    ],
    "longer than any is": [Behaviour(status=202, body=bytes(LONGEST_ANSWER_BYTES + 1))],
    "html": [HTML, PORTAL, LOGIN],
    "html in disguise": [
        Behaviour(status=status, headers=headers, body=body)
        for status in (202, 400, 422)
        for headers, body in (
            ({"Content-Encoding": "gzip"}, gzip.compress(FORM)),
            ({"Content-Type": "application/json"}, gzip.compress(FORM)),
            ({"Content-Encoding": "br"}, b"\x0b\x02\x80{}\x03"),
            ({}, b" " * 5000 + FORM),
            ({"Content-Type": "text/plain"}, b"Hello, guest. " + FORM),
            ({"Content-Type": "text/javascript"}, b"window.location = '/login'"),
        )
    ],
    "hang": [Behaviour(hold=True)],
    "drip": [Behaviour(trickle=True)],
}


@pytest.mark.parametrize("failures", FAILURES.values(), ids=FAILURES.keys())
async def test_no_failure_is_a_delivery_and_none_loses_an_event(tmp_path, capture, failures):
    # Ten times 500 in a row would be put down to the batch; here each comes once.
    capture.script(*failures)
    endless = failures[0].hold or failures[0].trickle
    timeouts = Timeouts(read=0.2, total=0.5) if endless else Timeouts()
    async with forwarding(tmp_path, capture, timeouts=timeouts) as here:
        await here.accept(5, 7)
        assert await settled(here) == {"accepted": EVENTS, "delivered": EVENTS}
    assert_taken(capture, range(EVENTS))
    assert len(capture.received) > len(failures)
    identities = {request.header("Idempotency-Key") for request in capture.received[: len(failures) + 1]}
    assert len(identities) == 1


async def test_an_answer_that_drips_in_whole_is_believed(tmp_path, capture):
    capture.default = Behaviour(drip=0.001)
    async with forwarding(tmp_path, capture) as here:
        await here.accept(EVENTS)
        assert await settled(here) == {"accepted": EVENTS, "delivered": EVENTS}
    assert len(capture.received) == 2


async def test_refused_connections_lose_nothing(tmp_path):
    with Capture(listening=False) as capture:
        async with forwarding(tmp_path, capture) as here:
            await here.accept(EVENTS)

            async def refused():
                return "refused" in (await here.lane()).reason

            await until(refused, "the lane says that connections are refused")
            assert await here.ledger() == {"accepted": EVENTS, "pending": EVENTS}
            capture.listen()
            assert await settled(here) == {"accepted": EVENTS, "delivered": EVENTS}
        assert_taken(capture, range(EVENTS))


async def test_what_is_too_large_is_cut_down_until_it_fits(tmp_path, capture):
    capture.largest = 600
    async with forwarding(tmp_path, capture, max_events=1000) as here:
        await here.accept(*[9] * 5)
        assert await settled(here) == {"accepted": 45, "delivered": 45}
    assert_taken(capture, range(45))


async def test_one_event_that_is_too_large_alone_ends_as_a_dead_letter(tmp_path, capture):
    capture.largest = 600
    async with forwarding(tmp_path, capture) as here:
        await here.accept(3)
        await here.accept(1, pad=1000)
        await here.accept(3)
        assert await settled(here) == {"accepted": 7, "delivered": 6, "dead": 1}
        ((position, reason, status),) = await here.dead_letters()
    assert (position, status) == (3, 413)
    assert "413" in reason
    assert_taken(capture, [0, 1, 2, 4, 5, 6])


@pytest.mark.parametrize("names", [True, False])
async def test_poison_ends_as_dead_letters_and_all_else_is_delivered(tmp_path, capture, names):
    capture.names = names
    capture.is_poison = lambda event: event["n"] in {0, 7, 8, 39}
    async with forwarding(tmp_path, capture) as here:
        await here.accept(*[8] * 5)
        assert await settled(here) == {"accepted": 40, "delivered": 36, "dead": 4}
        assert [position for position, _, _ in await here.dead_letters()] == [0, 7, 8, 39]
    assert_taken(capture, [n for n in range(40) if n not in {0, 7, 8, 39}])


UNTRUSTED = {
    "wrong host": ({"name": "elsewhere.example"}, {}, "Hostname mismatch"),
    "expired": ({"days": (-3, -1)}, {}, "certificate has expired"),
    "unknown authority": ({}, {"ca_file": None}, "unable to get local issuer certificate"),
    "no client certificate": ({"demands_certificate": True}, {}, "client certificate"),
    "another key": ({}, {"pinned_keys": (f"sha256//{'A' * 43}=",)}, "not in pinned_keys"),
}


@pytest.mark.parametrize(("server", "options", "told"), UNTRUSTED.values(), ids=UNTRUSTED.keys())
async def test_without_trust_the_lane_blocks_with_the_reason_and_keeps_its_events(
    tmp_path, server, options, told
):
    authority = Authority(tmp_path)
    with Capture(tls=authority.server(**server)) as capture:
        options = {"ca_file": str(authority.file), **options}
        async with forwarding(tmp_path / "spool", capture, **options) as here:
            await here.accept(EVENTS)

            async def blocked():
                lane = await here.lane()
                return lane.state == "blocked" and told in lane.reason

            await until(blocked, f"the lane is blocked: {told}")
            assert await here.ledger() == {"accepted": EVENTS, "pending": EVENTS}
        assert capture.received == []
