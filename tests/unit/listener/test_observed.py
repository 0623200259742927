from __future__ import annotations

import pytest

from collector.core.http import Answer
from collector.errors import SpoolUnavailable
from collector.listener.observed import Answered, Observed, ObservedEndpoint, ObservedIntake
from collector.listener.routes import Peer, Request
from collector.spool.store import NewChunk


def request(body=b"", **headers):
    return Request("POST", "/v1/events", "", "1.1", headers, Peer("unix"), body)


class Scripted:
    """An endpoint, a pending answer, an intake and a ticket, all at once."""

    def __init__(self, refusal=None, outcome=None, error=None):
        self.refusal, self.outcome, self.error = refusal, outcome, error

    def admit(self, head):
        return self.refusal

    def begin(self, request):
        return self.outcome

    async def answer(self):
        return Answer(202)

    def submit(self, chunk):
        return self

    async def committed(self):
        if self.error is not None:
            raise self.error


def test_a_refusal_by_the_head_is_counted():
    counts = Observed()
    endpoint = ObservedEndpoint(Scripted(refusal=Answer(403)), counts)
    assert endpoint.admit(request(**{"x-product-key": "p"})) == Answer(403)
    assert counts.answers == {("traintracks", 403): Answered(1, 0)}


def test_an_answer_at_once_is_counted_with_its_bytes():
    counts = Observed()
    endpoint = ObservedEndpoint(Scripted(outcome=Answer(400)), counts)
    assert endpoint.admit(request()) is None
    assert endpoint.begin(request(b"12345")) == Answer(400)
    assert counts.answers == {("samsara", 400): Answered(1, 5)}


async def test_an_answer_that_waits_is_counted_when_it_is_there():
    counts = Observed()
    pending = ObservedEndpoint(Scripted(outcome=Scripted()), counts).begin(request(b"123"))
    assert counts.answers == {}
    assert await pending.answer() == Answer(202)
    assert counts.answers == {("samsara", 202): Answered(1, 3)}


async def test_events_count_when_they_are_committed_and_not_else():
    counts = Observed()
    chunk = NewChunk("samsara", "", "", 1, None, 7, "", b"[]")
    await ObservedIntake(Scripted(), counts).submit(chunk).committed()
    refused = ObservedIntake(Scripted(error=SpoolUnavailable("no")), counts).submit(chunk)
    with pytest.raises(SpoolUnavailable):
        await refused.committed()
    assert counts.events == {"samsara": 7}
