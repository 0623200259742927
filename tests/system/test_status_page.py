"""The status page in a real browser: during an outage and after, with replays, on small and large screens."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from fakes.browser import AXE, CHROMIUM, launched, opened
from fakes.configs import ADMIN_OVER_TCP, UNSIGNED
from fakes.daemon import PATIENCE, Client, total, until
from fakes.upstream import Behaviour, Upstream

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
from playwright.sync_api import expect

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

CONFIG = f"""{ADMIN_OVER_TCP}{UNSIGNED}
backoff = {{ initial = "20ms", max = "200ms" }}
"""
LANE = "samsara/samsara"
REFUSED = Behaviour(status=400, body=b'["OK","eventName: <b>not</b> known here","OK"]')
DOWN = Behaviour(status=503)

PHONE = {"width": 360, "height": 740}
KIOSK = {"width": 1920, "height": 1080}


@pytest.fixture(scope="module")
def browser():
    expect.set_options(timeout=PATIENCE * 1000)
    with launched() as chromium:
        yield chromium


@pytest.fixture
def upstream():
    with Upstream() as fake:
        yield fake


@pytest.fixture
def daemon(make_daemon, upstream):
    return make_daemon(CONFIG.replace("URL", upstream.url)).start()


def post(daemon, *names):
    events = [{"timestamp": 1433004485870, "sourceId": "till", "eventName": name} for name in names]
    with Client(daemon.socket) as client:
        body = json.dumps(events).encode()
        assert client.ask("POST", "/v1/events", body, {"Content-Type": "application/json"}).status == 202


def refuse_one(daemon, upstream):
    """Leave one dead letter."""
    upstream.script(REFUSED)
    post(daemon, "sold", "returned", "closed")
    assert total(daemon.forwarded(), "dead") == 1


def link(daemon):
    told = daemon.run("open", "--print")
    assert told.returncode == 0, told.stderr
    return told.stdout.decode().strip()


def test_the_page_follows_an_outage_and_what_comes_after_it(browser, daemon, upstream):
    post(daemon, "before")
    daemon.forwarded()
    with opened(browser, link(daemon)) as watched:
        page = watched.page
        expect(page.locator("h1")).to_have_text("Everything has gone out")
        expect(page.locator("#link-samsara")).to_contain_text(re.compile(r"Up\s+since \S+ .*UTC"))
        page.evaluate("window.sameDocument = true")

        upstream.default = DOWN
        post(daemon, "sold", "returned")
        expect(page.locator("h1")).to_have_text("samsara does not take events")
        expect(page.locator("#link-samsara")).to_contain_text(re.compile(r"Down\s+since .*http 503"))
        expect(page.locator("#waiting")).to_contain_text(re.compile(r"2\s+the oldest for \d"))
        lane = page.locator(f"[id='lane-{LANE}']")
        expect(lane).to_contain_text("retrying")
        expect(lane).to_contain_text("What to do: Nothing to do here: the upstream is overloaded or down.")
        expect(page).to_have_title(re.compile("^✗"))

        upstream.default = Behaviour()
        expect(page.locator("h1")).to_have_text("Everything has gone out")
        expect(page.locator("#waiting")).to_contain_text("nothing waits")
        expect(page.locator("#today")).to_contain_text(re.compile(r"\d\s+of \d accepted today"))
        expect(page.locator("#link-samsara")).to_contain_text("Up")
        assert page.evaluate("window.sameDocument") is True
        assert watched.errors == []
        assert watched.hosts == {urlsplit(page.url).netloc}
        assert page.context.cookies() == []


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_a_dead_letter_is_replayed_after_a_confirmation(browser, daemon, upstream, scripts):
    refuse_one(daemon, upstream)
    with opened(browser, link(daemon), java_script_enabled=scripts) as watched:
        page = watched.page
        # What an upstream answers is shown as it is.
        expect(page.locator("#letter-1")).to_contain_text("eventName: <b>not</b> known here")
        page.get_by_role("button", name="Replay 1…").click()
        expect(page.locator("h1")).to_have_text("Replay dead letter 1?")
        page.get_by_role("link", name="Cancel").click()
        expect(page.locator("#letter-1")).to_be_visible()
        assert total(daemon.status(), "dead") == 1

        page.get_by_role("button", name="Replay 1…").click()
        page.get_by_role("button", name="Replay it").click()
        expect(page.get_by_role("status")).to_have_text("1 event waits to be sent once more.")
        assert total(daemon.forwarded(), "delivered") == 3
        if not scripts:
            page.get_by_role("link", name="look again").click()
        expect(page.get_by_text("There are none.")).to_be_visible()
        assert watched.errors == []


def test_all_letters_of_a_lane_are_replayed_at_once(browser, daemon, upstream):
    for _ in range(2):
        refuse_one_more(daemon, upstream)
    with opened(browser, link(daemon)) as watched:
        page = watched.page
        page.get_by_role("button", name=f"Replay all 2 of {LANE}…").click()
        expect(page.locator("h1")).to_have_text(f"Replay all dead letters of {LANE}?")
        page.get_by_role("button", name="Replay them all").click()
        expect(page.get_by_role("status")).to_have_text("2 events wait to be sent once more.")
    assert total(daemon.forwarded(), "delivered") == 6


def refuse_one_more(daemon, upstream):
    dead = total(daemon.status(), "dead")
    upstream.script(REFUSED)
    post(daemon, "sold", "returned", "closed")
    assert total(daemon.forwarded(), "dead") == dead + 1


def test_without_scripts_the_ledger_is_shown_by_day_and_by_lane(browser, daemon):
    post(daemon, "sold", "returned")
    (row,) = daemon.forwarded()["ledger"]
    with opened(browser, link(daemon), java_script_enabled=False) as watched:
        page = watched.page
        expect(page.locator("tbody tr")).to_have_text(re.compile(rf"{row['day']}\s*2\s*2\s*0\s*0\s*0"))
        page.get_by_role("link", name=row["day"]).click()
        expect(page.locator("tbody tr")).to_have_text(re.compile(rf"{LANE}\s*2\s*2\s*0\s*0\s*0"))
        page.get_by_role("link", name="All days").click()
        expect(page.get_by_role("link", name=row["day"])).to_be_visible()


def test_a_link_works_once_and_a_page_ends_with_its_daemon(browser, daemon):
    address = link(daemon)
    with opened(browser, address) as watched:
        page = watched.page
        expect(page.locator("h1")).to_have_text("Ready: no events have come yet")
        assert "link" not in parse_qs(urlsplit(page.url).query)
        with opened(browser, address) as second:
            expect(second.page.locator("h1")).to_have_text("This link has ended")
        daemon.stop()
        expect(page.locator("#stale")).to_contain_text("The daemon does not answer.")
        expect(page.locator("body.stale")).to_be_visible()
        expect(page.locator("h1")).to_have_text("Ready: no events have come yet")


def test_without_a_port_it_says_what_is_missing(make_daemon):
    daemon = make_daemon('[[listener]]\nbind = "unix:$socket"').start()
    told = daemon.run("open")
    assert told.returncode == 1
    assert b'add one to admin.bind, such as "127.0.0.1:9010", and reload' in told.stderr


def test_a_browser_is_opened_where_there_is_a_screen(daemon):
    note = daemon.home / "opened"
    script = daemon.home / "browser"
    script.write_text(f'#!/bin/sh\nprintf %s "$1" > {note}.part\nmv {note}.part {note}\n')
    script.chmod(0o755)
    daemon.environ = {**daemon.environ, "BROWSER": str(script)}
    told = daemon.run("open")
    until(note.exists, "the browser is started")
    assert note.read_text() == told.stdout.decode().strip()


@pytest.mark.skipif(not AXE.is_file(), reason="tests/system/node/node_modules is missing: run npm ci there")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_and_fits_phones_and_kiosks(browser, daemon, upstream, scheme):
    refuse_one(daemon, upstream)
    upstream.default = Behaviour(status=401)
    post(daemon, "sold")
    context = {"color_scheme": scheme}
    with opened(browser, link(daemon), viewport=PHONE, **context) as watched:
        page = watched.page
        expect(page.locator(f"[id='lane-{LANE}']")).to_contain_text("Check this upstream's key")
        for size in (PHONE, KIOSK):
            page.set_viewport_size(size)
            assert watched.violations() == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("button", name="Replay 1…").click()
        expect(page.locator("h1")).to_have_text("Replay dead letter 1?")
        assert watched.violations() == []
        page.goto(page.url.partition("?")[0])
        expect(page.locator("h1")).to_have_text("This link has ended")
        assert watched.violations() == []
