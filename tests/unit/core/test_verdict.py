"""The table of verdicts, row by row."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.failure import Failure
from collector.core.policy import DEFAULT, policy_for
from collector.core.reply import MAX_EXCERPT, MAX_RETRY_AFTER, Reply, excerpt
from collector.core.verdict import Blocked, Delivered, Rejected, Retry, Split, escalate, judge, judge_failure

NOW_MS = 1_792_000_000_000
SAMSARA = DEFAULT["samsara"]
TRAINTRACKS = DEFAULT["traintracks"]


def verdict_of(status, *, policy=SAMSARA, events=4, **reply):
    return judge(Reply(status, **reply), policy=policy, events=events, now_ms=NOW_MS)


@pytest.mark.parametrize(
    ("policy", "statuses"), [(SAMSARA, {200, 202}), (TRAINTRACKS, {200})], ids=["samsara", "traintracks"]
)
def test_only_the_dialects_own_success_is_delivered(policy, statuses):
    delivered = {status for status in range(100, 600) if verdict_of(status, policy=policy) == Delivered()}
    assert delivered == statuses


@pytest.mark.parametrize(
    "page",
    [
        {"content_type": "text/html; charset=utf-8", "body": b"Welcome to the hotel"},
        {"content_type": "TEXT/HTML"},
        {"content_type": "application/xhtml+xml"},
        {"body": b"\xef\xbb\xbf \r\n <!DOCTYPE HTML><title>Wifi</title>"},
        {"content_type": "text/plain", "body": b"<HTML><body>"},
    ],
)
@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_success_with_a_page_is_a_captive_portal_and_blocks_the_upstream(status, page):
    verdict = verdict_of(status, **page)
    assert isinstance(verdict, Blocked)
    assert verdict.whole_upstream
    assert verdict.status == status


def test_a_json_body_that_speaks_of_html_is_no_page():
    assert verdict_of(200, content_type="application/json", body=b'{"a":"<html>"}') == Delivered()


RETRIED = {408, 409, 425, 429, *range(500, 600)} - {501, 505, 511}


def test_statuses_that_pass_by_themselves_are_retried():
    retried = {status for status in range(100, 600) if isinstance(verdict_of(status), Retry)}
    assert retried == RETRIED


def test_an_error_page_of_a_gateway_is_retried():
    assert isinstance(verdict_of(503, content_type="text/html", body=b"<html>"), Retry)


def test_overload_and_gateways_speak_of_the_whole_upstream():
    assert {status for status in RETRIED if verdict_of(status).breaker} == {429, 502, 503, 504}


def test_all_else_is_blocked():
    blocked = {status for status in range(100, 600) if isinstance(verdict_of(status), Blocked)}
    assert blocked == set(range(100, 600)) - RETRIED - {200, 202, 400, 413, 422}


def test_redirects_and_portals_block_the_upstream_and_refusals_their_lane():
    whole = {status for status in range(100, 600) if getattr(verdict_of(status), "whole_upstream", False)}
    assert whole == {*range(300, 400), 511}


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/json; charset=utf-8", "JSON"),
        ("application/problem+json", "JSON"),
        ("Text/Plain", "plain text"),
        ("", "a body"),
        ("x-secret/event", "a body"),
    ],
)
def test_a_reason_tells_what_kind_of_answer_came_and_not_a_word_of_it(content_type, kind):
    body = b'{"message":"key kiosk-17\\n is unknown"}'
    verdict = verdict_of(401, body=body, content_type=content_type)
    told = f"http 401 Unauthorized: {kind} of 39 bytes"
    assert verdict == Blocked(told, 401, excerpt='{"message":"key kiosk-17\\n is unknown"}')


@pytest.mark.parametrize("page", [False, True])
@pytest.mark.parametrize("status", range(200, 600))
def test_what_an_upstream_says_stands_in_the_excerpt_and_in_no_reason(status, page):
    body = b"<p>tell-tale" if page else b"tell-tale"
    verdict = verdict_of(status, body=body, content_type="text/tell-tale")
    if not isinstance(verdict, Delivered):
        assert "tell-tale" not in verdict.reason
        assert "tell-tale" in verdict.excerpt
        worse = escalate(verdict, same_500=10, events=4)
        assert "tell-tale" not in worse.reason
        assert worse.excerpt == verdict.excerpt


def test_too_large_splits():
    verdict = verdict_of(413)
    assert isinstance(verdict, Split)
    assert verdict.status == 413


def test_one_event_too_large_alone_is_rejected_and_named():
    verdict = verdict_of(413, events=1)
    assert isinstance(verdict, Rejected)
    assert [index for index, _ in verdict.named] == [0]


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("policy", [SAMSARA, TRAINTRACKS], ids=["samsara", "traintracks"])
def test_an_answer_that_names_events_is_believed(status, policy):
    body = json.dumps(["OK", "{:eventName missing-required-key}", "OK", "no"]).encode()
    verdict = verdict_of(status, body=body, policy=policy)
    assert isinstance(verdict, Rejected)
    assert verdict.named == ((1, "{:eventName missing-required-key}"), (3, "no"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"bad request",
        b'{"status":"ERROR","message":"no"}',
        b'["OK","OK","OK","OK"]',  # names none
        b'["OK","no"]',  # of another batch
        b'["OK","no","OK","OK","OK"]',
        b'["OK",1,"OK","OK"]',
        b'["OK","no","OK","OK"',
        b'["OK","\xff","OK","OK"]',
        b"[" * 100_000,
    ],
)
def test_an_answer_that_names_no_event_leaves_it_to_halving(body):
    verdict = verdict_of(400, body=body)
    assert isinstance(verdict, Rejected)
    assert verdict.named == ()


def test_one_event_refused_alone_is_named():
    verdict = verdict_of(400, events=1, body=b"no \x1b[31m such\r\nthing")
    assert isinstance(verdict, Rejected)
    assert verdict.excerpt == "no [31m such thing"
    assert verdict.named == ((0, "http 400 Bad Request: no [31m such thing"),)


@given(body=st.binary(max_size=3000))
def test_what_is_kept_of_an_answer_is_short_and_safe_to_print(body):
    kept = excerpt(body)
    assert len(kept) <= MAX_EXCERPT
    assert kept.isprintable()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("3601", MAX_RETRY_AFTER),
        ("9" * 5000, MAX_RETRY_AFTER),
        ("0" * 5000 + "7", 7.0),
        ("Wed, 14 Oct 2026 14:28:50 GMT", 30.0),
        ("Wednesday, 14-Oct-26 14:28:50 GMT", 30.0),
        ("Wed Oct 14 14:28:50 2026", 30.0),
        ("Wed, 14 Oct 2020 00:00:00 GMT", 0.0),
        ("Wed, 14 Oct 2093 00:00:00 GMT", MAX_RETRY_AFTER),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("Wed, 99 Foo 2026", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(value, seconds):
    date = "Wed, 14 Oct 2026 14:28:20 GMT"
    for status in (503, 429, 408):
        assert verdict_of(status, retry_after=value, date=date).after == seconds


def test_a_retry_after_date_without_a_date_counts_from_our_clock():
    verdict = judge(
        Reply(503, retry_after="Wed, 14 Oct 2026 14:28:50 GMT"),
        policy=SAMSARA,
        events=1,
        now_ms=1_791_988_100_000,
    )
    assert verdict.after == 30.0


def test_configured_statuses_come_before_the_usual_ones():
    policy = policy_for("samsara", success=(204,), retry=(404, 413), block=(503, 400), reject=(409,))
    assert verdict_of(204, policy=policy) == Delivered()
    assert isinstance(verdict_of(202, policy=policy), Blocked)
    assert isinstance(verdict_of(404, policy=policy), Retry)
    assert isinstance(verdict_of(413, policy=policy), Retry)
    assert isinstance(verdict_of(503, policy=policy), Blocked)
    assert isinstance(verdict_of(400, policy=policy), Blocked)
    assert isinstance(verdict_of(409, policy=policy), Rejected)
    assert isinstance(verdict_of(500, policy=policy), Retry)


def test_with_nothing_configured_a_policy_is_the_dialects():
    assert policy_for("traintracks") == TRAINTRACKS


status_lists = st.none() | st.lists(st.integers(100, 599), max_size=5)


@given(success=status_lists, retry=status_lists, block=status_lists, reject=status_lists)
def test_no_status_means_two_things(success, retry, block, reject):
    policy = policy_for("samsara", success=success, retry=retry, block=block, reject=reject)
    sets = [policy.success, policy.retry, policy.block, policy.reject]
    assert sum(map(len, sets)) == len(frozenset().union(*sets))


def test_the_same_500_ten_times_splits_the_batch():
    failed = verdict_of(500)
    assert escalate(failed, same_500=9, events=4) == failed
    assert isinstance(escalate(failed, same_500=10, events=4), Split)


def test_one_event_that_ends_in_500_ten_times_blocks_its_lane():
    verdict = escalate(verdict_of(500), same_500=10, events=1)
    assert isinstance(verdict, Blocked)
    assert not verdict.whole_upstream
    assert escalate(verdict_of(500), same_500=11, events=1) == verdict


def test_asked_for_it_is_refused_for_what_it_is():
    assert escalate(verdict_of(500), same_500=9, events=1, bury=True) == verdict_of(500)
    assert isinstance(escalate(verdict_of(500), same_500=10, events=2, bury=True), Split)
    verdict = escalate(verdict_of(500), same_500=10, events=1, bury=True)
    assert isinstance(verdict, Rejected)
    ((index, wrong),) = verdict.named
    assert (index, wrong) == (0, "http 500 Internal Server Error, 10 times and more for this one event")


@pytest.mark.parametrize("status", [202, 400, 401, 413, 429, 502, 503])
def test_no_other_answer_is_escalated(status):
    verdict = verdict_of(status)
    assert escalate(verdict, same_500=50, events=4) == verdict


@pytest.mark.parametrize("failure", Failure)
def test_no_failure_is_ever_a_delivery(failure):
    assert isinstance(judge_failure(failure, "why"), Retry | Blocked)
    assert "why" in judge_failure(failure, "why").reason


@pytest.mark.parametrize("failure", [Failure.CONNECT, Failure.TIMEOUT, Failure.PROXY])
def test_no_connection_and_time_outs_open_the_breaker(failure):
    assert judge_failure(failure, "") == Retry(failure.value, breaker=True)


@pytest.mark.parametrize("failure", [Failure.BROKEN, Failure.BUSY])
def test_an_answer_cut_short_concerns_the_lane_alone(failure):
    assert judge_failure(failure, "") == Retry(failure.value)


@pytest.mark.parametrize("failure", [Failure.TLS, Failure.PROXY_REFUSED])
def test_no_trust_blocks_the_whole_upstream(failure):
    assert judge_failure(failure, "") == Blocked(failure.value, whole_upstream=True)


def test_a_request_that_cannot_be_made_blocks_its_lane():
    assert judge_failure(Failure.LOCAL, "") == Blocked(Failure.LOCAL.value)
