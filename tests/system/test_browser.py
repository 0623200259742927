"""A real browser: pages of allowed origins post, others cannot, by whatever way a page has."""

from __future__ import annotations

import hashlib
import json

import pytest
from fakes.browser import CHROMIUM, launched, opened
from fakes.daemon import PATIENCE, until

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

PRODUCT = "a32e6578-17b7-11e4-930a-bc764e1c05e4"
SECRET = b"s3cret"
CONFIG = """
[[listener]]
bind = "127.0.0.1:0"
allowed_origins = ["$origin"]

[[product]]
key = "a32e6578-17b7-11e4-930a-bc764e1c05e4"
secret_file = "product.secret"

[[upstream]]
name = "file"
kind = "file"
"""

POST = """
async ({url, headers, body, mode}) => {
    try {
        const answer = await fetch(url, {method: "POST", headers, body, mode});
        return {status: answer.status, type: answer.type, text: await answer.text()};
    } catch (error) {
        return {error: String(error)};
    }
}
"""
FORM = """
([url, type, body]) => {
    const form = document.createElement("form");
    form.method = "POST"; form.action = url; form.enctype = type;
    const field = document.createElement("input");
    // A text/plain form sends `name=value`: so JSON hides in both.
    field.name = body.slice(0, -1); field.value = body.slice(-1);
    form.append(field); document.body.append(form); form.submit();
}
"""

SAMSARA = json.dumps([{"timestamp": 1433004485870, "sourceId": "page", "eventName": "shown"}])
PLAYS = json.dumps([{"eventType": "play", "clientTimestamp": "2012-03-14T02:33:42.416587+00:00", "data": {}}])
PLAIN = {"Content-Type": "text/plain"}
JSON = {"Content-Type": "application/json", "X-Samsara-publishedTimestamp": "1433004485999"}
SDK = {
    "Content-Type": "application/json;charset=utf-8",
    "X-Product-Key": PRODUCT,
    "X-Product-Auth": hashlib.md5(PLAYS.encode() + SECRET).hexdigest(),
    "Remote-Address": "1.2.3.4",
    "X-Requested-With": "XMLHttpRequest",
}
"""What the browser SDK of Traintracks sends."""


@pytest.fixture(scope="module")
def shop(pages):
    return f"http://shop.example:{pages}"


@pytest.fixture(scope="module")
def daemon(make_shared_daemon, shop):
    daemon = make_shared_daemon(CONFIG.replace("$origin", shop))
    daemon.secret("product.secret", SECRET)
    return daemon.start()


@pytest.fixture(scope="module")
def url(daemon):
    return f"http://127.0.0.1:{daemon.ports()[0]}/v1/events"


@pytest.fixture(scope="module")
def rebound(daemon):
    """The origin of a page whose server's name came to stand for this machine, at the daemon's port."""
    return f"http://rebound.example:{daemon.ports()[0]}"


@pytest.fixture(scope="module")
def browser(shop, rebound):
    # Chromium grants the local network to secure contexts alone; these have no certificates.
    with launched(f"--unsafely-treat-insecure-origin-as-secure={shop},{rebound}") as chromium:
        yield chromium


def stored(daemon):
    return sum(row["events"] for row in daemon.status()["received"])


def post(page, url, headers, body, mode="cors"):
    return page.evaluate(POST, {"url": url, "headers": headers, "body": body, "mode": mode})


def test_page_of_an_allowed_origin_posts_both_dialects_and_reads_the_answers(browser, daemon, shop, url):
    before = stored(daemon)
    with opened(browser, shop) as watched:
        page = watched.page
        answer = post(page, url, SDK, PLAYS)
        assert answer["status"] == 200, answer
        assert json.loads(answer["text"])["status"] == "OK"
        assert post(page, url, JSON, SAMSARA)["status"] == 202
        assert post(page, url, SDK, "[]")["status"] == 401  # refusals can be read too
    assert stored(daemon) == before + 2


@pytest.mark.parametrize("site", ["evil.example", "shop.example.evil.example"])
def test_page_of_another_origin_cannot_post_nor_read(browser, daemon, pages, url, site):
    before = stored(daemon)
    with opened(browser, f"http://{site}:{pages}/") as watched:
        page = watched.page
        for headers, body in ((SDK, PLAYS), (JSON, SAMSARA), (PLAIN, SAMSARA)):
            assert "error" in post(page, url, headers, body)
        # Without a preflight it goes out, and the page learns nothing; see whether it came to anything.
        assert post(page, url, PLAIN, SAMSARA, mode="no-cors")["type"] == "opaque"
        assert "error" in page.evaluate(POST.replace('"POST"', '"PUT"'), {"url": url, "body": "{}"})
    assert stored(daemon) == before


def test_page_of_a_file_is_refused_unless_it_is_allowed(browser, daemon, url, tmp_path):
    before = stored(daemon)
    (tmp_path / "page.html").write_text("<!doctype html><body></body>")
    with opened(browser, f"file://{tmp_path}/page.html") as watched:
        page = watched.page
        assert "error" in post(page, url, JSON, SAMSARA)
    assert stored(daemon) == before


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_form_of_another_origin_cannot_post(browser, daemon, pages, url, kind):
    before = stored(daemon)
    with opened(browser, f"http://evil.example:{pages}/") as watched:
        page = watched.page
        with page.expect_response(url) as response:
            page.evaluate(FORM, [url, kind, SAMSARA])
        assert response.value.status == 403
    assert stored(daemon) == before


def test_page_that_rebinds_its_name_cannot_post_nor_read(browser, daemon, rebound):
    before = stored(daemon)
    with browser.new_context() as context:
        context.set_default_timeout(PATIENCE * 1000)
        # Even where the user has said yes to the local network.
        context.grant_permissions(["local-network-access"])
        page = context.new_page()
        # At first its name is its own server's; from then on it is this machine's, at the daemon's port.
        page.route("**/*", lambda route: route.fulfill(body="<body></body>", content_type="text/html"))
        page.goto(rebound)
        page.unroute_all()
        for headers, body in ((JSON, SAMSARA), (SDK, PLAYS)):
            answer = post(page, f"{rebound}/v1/events", headers, body)
            assert answer["status"] == 403
            assert "allowed_hosts" in answer["text"]
        shown = page.evaluate("async (url) => (await fetch(url)).status", f"{rebound}/v1/api-status")
        assert shown == 403
    assert stored(daemon) == before


def test_public_page_of_an_allowed_origin_posts_once_the_local_network_is_granted(browser, daemon, shop, url):
    before = stored(daemon)
    with opened(browser, f"{shop}/public") as watched:
        page = watched.page
        # There is nobody to say yes.
        assert "error" in post(page, url, JSON, SAMSARA)
    assert stored(daemon) == before
    with opened(browser, f"{shop}/public", permissions=["local-network-access"]) as watched:
        page = watched.page
        assert post(page, url, JSON, SAMSARA)["status"] == 202
    until(lambda: stored(daemon) == before + 1, "the event is stored")
