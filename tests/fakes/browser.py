"""A real browser, what a page did in it, and a web server for the pages of all sites."""

from __future__ import annotations

import http.server
import shutil
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fakes.daemon import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = Path(__file__).parents[1] / "system/node/node_modules/axe-core/axe.min.js"

FLAGS = [
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # containers have little of it
    # Every name of a test is this machine: also one that was "rebound".
    "--host-resolver-rules=MAP *.example 127.0.0.1",
]

# As WCAG 2.2 AA asks, and what axe-core's makers hold for good practice.
_AXE = """
async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.map(
    ({id, help, nodes}) => `${id}: ${help}: ${nodes.map((node) => node.html).join(" | ")}`)
"""


@contextmanager
def launched(*flags: str) -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 (a machine without it skips)

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags], timeout=120_000)
        yield browser
        browser.close()


class _Blank(http.server.BaseHTTPRequestHandler):
    """Any path is an empty page; `/public` is one that Chromium takes for a page of the Internet."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        if self.path == "/public":
            self.send_header("Content-Security-Policy", "treat-as-public-address")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>page</title><body></body>")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served_pages() -> Iterator[int]:
    """The port of a web server for all sites."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Blank) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Watched:
    """A page, and what it did.

    Attributes:
        hosts: `host:port` of all that it asked for.
        errors: what it told on the console as errors, and exceptions that nobody caught.
    """

    page: Page
    hosts: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    def violations(self) -> list[str]:
        """What axe-core finds wrong."""
        # Through the debugger, past the page's own policy.
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        return self.page.evaluate(_AXE)


@contextmanager
def opened(browser: Browser, address: str, **context: object) -> Iterator[Watched]:
    """A page in a context of its own; `context` is Playwright's."""
    with browser.new_context(**context) as fresh:
        fresh.set_default_timeout(PATIENCE * 1000)
        watched = Watched(fresh.new_page())
        page = watched.page
        page.on("request", lambda request: watched.hosts.add(urlsplit(request.url).netloc))
        page.on("console", lambda said: said.type == "error" and watched.errors.append(said.text))
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.goto(address)
        yield watched
