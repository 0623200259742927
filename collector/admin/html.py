"""Pages as answers: the templates, and the headers that keep a page to itself.

Jinja2 is imported, and the templates compiled, when the first page is asked for, and on a thread:
a daemon that nobody looks at pays nothing for them, and one that is looked at does not stand still.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import trio

from collector.core.http import Answer

if TYPE_CHECKING:
    import jinja2

HTML = "text/html; charset=utf-8"

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing but what this listener serves itself, and no page around it."""

HEADERS = (
    ("Content-Security-Policy", _POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    # Not no-referrer: with that a browser sends `Origin: null` with the page's own forms.
    ("Referrer-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
)

ASSETS = {
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""What the page loads, by path: the same for everybody, so it needs no leave."""

_PACKAGE = "collector.admin"
_FOLDER = "templates"
_TEMPLATES = ("status.html", "confirm.html", "message.html")


async def html(template: str, status: int = 200, **values: object) -> Answer:
    """A page."""
    environment = await trio.to_thread.run_sync(_environment)
    text = environment.get_template(template).render(values)
    return Answer(status, text.encode(), content_type=HTML, headers=HEADERS)


async def message(status: int, heading: str, text: str, *, back: str = "") -> Answer:
    """A page that says one thing."""
    return await html("message.html", status, heading=heading, text=text, back=back)


def asset(path: str) -> Answer:
    """A file that the page loads."""
    name, content_type = ASSETS[path]
    body = files(_PACKAGE).joinpath(_FOLDER, name).read_bytes()
    return Answer(200, body, content_type=content_type, headers=HEADERS)


def bare(status: int, heading: str, text: str, *, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """A page of fixed words, made without a template; they must not need escaping."""
    body = (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="/icon.svg"><link rel="stylesheet" href="/page.css"><title>{heading}</title>'
        f"<main><h1>{heading}</h1><p>{text}</p></main></html>"
    )
    return Answer(status, body.encode(), content_type=HTML, headers=(*HEADERS, *headers))


@cache
def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415 (see above)

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE, _FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for template in _TEMPLATES:
        environment.get_template(template)
    return environment
