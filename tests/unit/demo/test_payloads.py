"""What the demo posts is what the documents show, and what both dialects take without a warning."""

from __future__ import annotations

from itertools import chain

import pytest
from fakes import documents

from collector.core.dialects import Accepted, samsara, traintracks
from collector.demo.payloads import (
    PRODUCT,
    SAMSARA_EXAMPLE,
    TRAINTRACKS_EXAMPLE,
    examples,
    generated,
    name_of,
)

NOW = 1_792_000_000_123


def requests(events=1000, seed=1):
    return list(chain.from_iterable(generated(events, seed=seed, now_ms=NOW)))


def test_examples_are_those_of_the_documents():
    assert SAMSARA_EXAMPLE in documents.SAMSARA_PLAIN
    assert SAMSARA_EXAMPLE in documents.SAMSARA_GZIP
    assert TRAINTRACKS_EXAMPLE == documents.TRAINTRACKS_BATCH
    assert PRODUCT == documents.TRAINTRACKS_PRODUCT


def test_examples_go_over_both_listeners_in_both_dialects():
    found = {(request.dialect, request.way): len(request.events) for request in examples(now_ms=NOW)}
    assert set(found) == {(dialect, way) for dialect in ("samsara", "traintracks") for way in ("tcp", "unix")}
    assert set(found.values()) == {2}


@pytest.mark.parametrize("request_", examples(now_ms=NOW) + requests())
def test_daemon_takes_every_request_without_a_warning(request_):
    if request_.dialect == "samsara":
        answer = samsara.read(request_.body, content_type="application/json", published_timestamp="1")
    else:
        answer = traintracks.read(request_.body, content_type="application/json", strict=True)
    assert isinstance(answer, Accepted)
    assert answer.events == len(request_.events)


def test_generated_events_are_as_many_as_asked_for_and_unlike_each_other():
    for events in (100, 1001):
        found = [(request.dialect, event.text) for request in requests(events) for event in request.events]
        assert len(set(found)) == len(found) == events


def test_generated_events_stand_in_their_body_as_they_are():
    for request in requests():
        assert request.body.count(b'"seq":') == len(request.events)
        assert all(event.text in request.body for event in request.events)


def test_same_seed_gives_the_same_events_and_another_one_others():
    assert requests(seed=3) == requests(seed=3)
    assert requests(seed=3) != requests(seed=4)


def test_sources_number_their_events_in_order():
    for app in generated(1000, seed=1, now_ms=NOW):
        numbers = {}
        for event in chain.from_iterable(request.events for request in app):
            assert event.number == numbers.get(event.source, 0)
            numbers[event.source] = event.number + 1
        assert len(numbers) > 1


def test_generated_event_is_known_again_by_its_name():
    for request in requests(200):
        for event in request.events:
            assert name_of(event.text.decode()) == (event.source, event.number)
    assert name_of("{}") is None
    assert name_of("[") is None
