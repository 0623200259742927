"""Pages of other sites and the admin listener, in a real browser: they read nothing and change nothing.

They know more here than they ever could: the port, the token, and the key of an open status page.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from fakes.browser import CHROMIUM, launched, opened
from fakes.configs import ADMIN_OVER_TCP, UNSIGNED
from fakes.daemon import Client, total
from fakes.upstream import Behaviour, Upstream

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

CONFIG = ADMIN_OVER_TCP + UNSIGNED

FETCH = """
async ([url, options]) => {
    try {
        const answer = await fetch(url, options);
        return {type: answer.type, status: answer.status, text: await answer.text()};
    } catch (error) {
        return {error: String(error)};
    }
}
"""
SUBMIT = """
([url, method]) => {
    const form = document.createElement("form");
    form.method = method; form.action = url;
    const field = document.createElement("input");
    field.name = "id"; field.value = "1";
    form.append(field); document.body.append(form); form.submit();
}
"""
EMBED = """
([url, tag]) => new Promise((done) => {
    const element = document.createElement(tag);
    element.onload = () => done("loaded"); element.onerror = () => done("failed");
    element.src = url; document.body.append(element);
})
"""


@dataclass
class Known:
    """What a foreign page is told."""

    daemon: object
    origin: str
    query: str
    token: str

    def unchanged(self) -> bool:
        online = json.loads(self.daemon.ask("/v1/api-status").body) == {"status": "online"}
        return online and total(self.daemon.status(), "dead") == 1 and "reloaded" not in self.daemon.log()


@pytest.fixture(scope="module")
def browser():
    with launched() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def known(make_shared_daemon, browser):
    with Upstream() as upstream:
        upstream.script(Behaviour(status=400, body=b'["no"]'))
        daemon = make_shared_daemon(CONFIG.replace("URL", upstream.url)).start()
        with Client(daemon.socket) as client:
            event = b'[{"timestamp":1433004485870,"sourceId":"till","eventName":"sold"}]'
            headers = {"Content-Type": "application/json"}
            assert client.ask("POST", "/v1/events", event, headers).status == 202
        daemon.forwarded()
        link = daemon.run("open", "--print").stdout.decode().strip()
        with opened(browser, link) as watched:
            own = urlsplit(watched.page.url)
            token = (daemon.state_dir / "admin.token").read_text().strip()
            yield Known(daemon, f"http://{own.netloc}", own.query, token)


@pytest.fixture(params=["http://evil.example", "http://localhost", "http://127.0.0.1"])
def foreign(request, browser, pages):
    """A page: of another site, of this machine under another name, and of this machine under the same."""
    with opened(browser, f"{request.param}:{pages}/") as watched:
        yield watched.page


READS = (
    "/",
    "/replay",
    "/v1/status",
    "/v1/dead-letters",
    "/metrics",
    "/livez",
    "/v1/api-status",
    "/page.css",
)


def test_it_reads_nothing(known, foreign):
    for path in READS:
        url = f"{known.origin}{path}?{known.query}"
        assert "error" in foreign.evaluate(FETCH, [url, {}]), path
        with foreign.expect_response(url) as seen:
            answer = foreign.evaluate(FETCH, [url, {"mode": "no-cors"}])
        assert not answer.get("text"), path
        assert seen.value.status == 403, path
    bearer = {"headers": {"Authorization": f"Bearer {known.token}"}}
    assert "error" in foreign.evaluate(FETCH, [f"{known.origin}/v1/status", bearer])


def test_it_cannot_show_the_page_within_itself(known, foreign):
    for tag in ("img", "script"):
        assert foreign.evaluate(EMBED, [f"{known.origin}/?{known.query}", tag]) == "failed"
    url = f"{known.origin}/?{known.query}"
    with foreign.expect_response(url) as seen:
        foreign.evaluate(EMBED, [url, "iframe"])
    assert seen.value.status == 403


def test_it_changes_nothing(known, foreign):
    json_body = {"Content-Type": "application/json", "Authorization": f"Bearer {known.token}"}
    offline = '{"status":"offline"}'
    for path, options in (
        ("/v1/api-status", {"method": "PUT", "headers": json_body, "body": offline}),
        ("/v1/reload", {"method": "POST", "mode": "no-cors"}),
        ("/v1/reload", {"method": "POST", "headers": json_body}),
        ("/v1/dead-letters/purge", {"method": "POST", "mode": "no-cors", "body": '{"all":true}'}),
        ("/v1/dead-letters/replay", {"method": "POST", "headers": json_body, "body": '{"all":true}'}),
    ):
        answer = foreign.evaluate(FETCH, [f"{known.origin}{path}", options])
        assert "error" in answer or answer["type"] == "opaque", (path, answer)
    assert known.unchanged()


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_its_forms_and_links_lead_nowhere(known, foreign, method):
    url = f"{known.origin}/replay?{known.query}"
    with foreign.expect_response(lambda answer: answer.url.startswith(f"{known.origin}/replay")) as seen:
        foreign.evaluate(SUBMIT, [url, method])
    assert seen.value.status == 403
    assert known.unchanged()


def test_a_name_that_was_pointed_here_is_refused(known, browser):
    port = urlsplit(known.origin).port
    with opened(browser, f"http://rebound.example:{port}/?{known.query}") as watched:
        assert "This Host is not served here" in watched.page.content()
        answer = watched.page.evaluate(FETCH, ["/v1/status", {}])
        assert answer["status"] == 403
