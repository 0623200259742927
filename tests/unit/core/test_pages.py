"""Pages for people in the place of an answer: no delivery, and no verdict on events."""

from __future__ import annotations

import json

import pytest

from collector.core.pages import is_page
from collector.core.policy import DEFAULT
from collector.core.reply import Reply
from collector.core.verdict import Blocked, Delivered, Rejected, Retry, Split, judge

SAMSARA = DEFAULT["samsara"]
SCRIPT = b'window.location = "http://portal.example/login";'


def verdict_of(status, *, events=4, **reply):
    return judge(Reply(status, **reply), policy=SAMSARA, events=events, now_ms=0)


PAGES = {
    "by its type": {"content_type": "text/html; charset=utf-8", "body": b"Welcome"},
    "empty, by its type": {"content_type": "application/xhtml+xml"},
    "behind many blanks": {"body": b" \r\n\t" * 5_000 + b"<html>"},
    "behind a byte order mark": {"body": b"\xef\xbb\xbf\xef\xbb\xbf \n<!doctype html>"},
    "in UTF-16": {"body": "\ufeff<html>".encode("utf-16-le")},
    "in UTF-16, the other way": {"body": "\ufeff<html>".encode("utf-16-be")},
    "behind a no-break space": {"body": "\u00a0<html>".encode()},
    "behind zeros": {"body": b"\0\0<html>"},
    "behind a comment": {"body": b"<!-- portal --><html>"},
    "behind an XML declaration": {"body": b'<?xml version="1.0"?><html/>'},
    "as plain text": {"content_type": "text/plain", "body": b"Please log in: <a href=/login>here</a>"},
    "as plain text, a form": {"content_type": "text/plain", "body": b"Hello guest!\n<FORM action=/in>"},
    "as JSON, which it is not": {"content_type": "application/json", "body": b"ok <p>Welcome</p>"},
    "a script": {"content_type": "application/javascript", "body": SCRIPT},
    "a script, as plain text": {"content_type": "text/plain", "body": b"top.location.href='/login'"},
    "a script that replaces": {"body": b"location.replace('http://portal.example/')"},
    "a script that assigns": {"body": b"location='https://portal.example/'"},
    "a script in a comment": {"body": b"/**/ self . location = x"},
    "with an array around it that is none": {"body": b"[<html>]"},
    "nothing but blanks, as far as it is kept": {"body": b" " * 1000, "whole": False},
}

NO_PAGES = {
    "nothing": {},
    "blanks": {"body": b"\r\n"},
    "an object": {"body": b'{"status":"OK"}'},
    "an array": {"body": b'["OK"]'},
    "JSON that quotes a page": {"body": json.dumps(["<html>", "window.location='/'"]).encode()},
    "JSON that quotes one, cut": {"body": b'["OK","<p>no</p>","O', "whole": False},
    "a word": {"content_type": "text/plain", "body": b"OK"},
    "arrows": {"content_type": "text/plain", "body": b"expected <string>, got <int>; 1 < 2 > 0"},
    "a field of that name": {"content_type": "text/plain", "body": b"location: missing; location=5"},
    "gibberish": {"body": bytes(range(128, 256))},
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_success_with_a_page_is_no_delivery(status, page):
    verdict = verdict_of(status, **page)
    assert isinstance(verdict, Blocked)
    assert verdict.whole_upstream
    assert "captive portal" in verdict.reason


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("events", [1, 4])
def test_a_page_is_no_verdict_on_events(status, page, events):
    verdict = verdict_of(status, events=events, **page)
    assert isinstance(verdict, Blocked)
    assert verdict.whole_upstream


@pytest.mark.parametrize("answer", NO_PAGES.values(), ids=NO_PAGES)
def test_what_a_machine_says_is_no_page(answer):
    assert not is_page(Reply(200, **answer))
    assert verdict_of(202, **answer) == Delivered()
    assert isinstance(verdict_of(400, **answer), Rejected)


def test_the_page_with_which_nginx_refuses_a_client_certificate_is_named():
    page = b"<html><head><title>400 No required SSL certificate was sent</title></head></html>"
    verdict = verdict_of(400, content_type="text/html", body=page)
    assert isinstance(verdict, Blocked)
    assert verdict.reason.startswith("http 400 Bad Request, client certificate missing or refused: ")


def test_gateways_may_speak_in_pages():
    page = {"content_type": "text/html", "body": b"<html>"}
    assert isinstance(verdict_of(502, **page), Retry)
    assert isinstance(verdict_of(413, **page), Split)


@pytest.mark.parametrize("status", [200, 202, 400, 422])
def test_what_cannot_be_read_is_neither_a_delivery_nor_a_verdict_on_events(status):
    verdict = verdict_of(status, body=b"\x1b\x04\x00", opaque=True)
    assert isinstance(verdict, Blocked)
    assert verdict.whole_upstream
    assert verdict.reason.startswith(f"http {status} ")
    assert "in a coding that cannot be read: " in verdict.reason


def test_an_array_that_was_not_kept_whole_names_no_event():
    body = json.dumps(["OK", "no", "OK", "OK"]).encode()
    assert verdict_of(400, body=body).named == ((1, "no"),)
    assert verdict_of(400, body=body, whole=False).named == ()
