"""Pages for people, where an answer to a machine was expected: captive portals, gateways, wrong urls.

No dialect's answer is markup. Whatever begins with a tag, or is not JSON and has one of HTML's anywhere, or a
script that leads elsewhere, is a page, whatever its type claims.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collector.core.reply import Reply

_TYPES = frozenset({"text/html", "application/xhtml+xml"})

_WIDE = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
"""Byte order marks of encodings in which a tag does not look like one."""

_BLANK = " \t\r\n\f\v\0\x85\xa0\u2028\u2029\u200b\ufeff"
"""What a browser, or a careless author, passes over before a page begins."""

_TAG = re.compile(
    r"<(?:!doctype|!--|\?xml|/?(?:html|head|body|title|meta|link|style|script|noscript|form|input|button|a|p|br|div"
    r"|span|center|font|h[1-6]|table|img|svg|i?frame|frameset)[\s/>])",
    re.IGNORECASE,
)
"""Somewhere in a text: only what HTML has, as an error may well say "expected <string>"."""

_LEADS_ELSEWHERE = re.compile(
    r"\b(?:window|document|self|top|parent)\s*\.\s*location\b"
    r"|\blocation\s*\.\s*(?:href|replace|assign)\b"
    r"""|\blocation\s*=\s*["'](?:https?:|/)""",
    re.IGNORECASE,
)
"""A script that sends a browser to another page, as portals do where they do not redirect."""


def is_page(reply: Reply) -> bool:
    """Whether an answer is a page for people, by its type or by what it holds.

    So is one of which nothing can be told, since all that was kept of it is blank.
    """
    if reply.media_type in _TYPES:
        return True
    text = _text(reply.body).lstrip(_BLANK)
    if not text:
        return not reply.whole
    if text.startswith("<"):
        return True
    if _is_json(reply, text):
        return False
    return bool(_TAG.search(text) or _LEADS_ELSEWHERE.search(text))


def _text(body: bytes) -> str:
    for mark, encoding in _WIDE:
        if body.startswith(mark):
            return body.decode(encoding, errors="replace")
    return body.decode(errors="replace")


def _is_json(reply: Reply, text: str) -> bool:
    """Whether it is JSON, as far as it goes; what JSON quotes is nobody's page."""
    if not reply.whole:
        return text.startswith(("{", "["))
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return False
    return True
