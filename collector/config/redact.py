"""What stands in the place of a secret where a value is shown."""

from __future__ import annotations

import re

REDACTED = "***"

# Greedy up to the last @ before a slash, since a password may itself hold an @.
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")

_KEY = re.compile(r"[A-Za-z0-9._~%\[\]-]+=")
_BEHIND_PATH = re.compile(r"(://[^?#\s]*)(?:\?([^#\s]*?))?(#\S*?)?([\"'][],;)}]*)?(?=\s|$)")
"""A quote at the very end is the text's around it, not the URL's: without it no JSON or TOML is left."""


_CREDENTIALS = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)


def redact_text(text: str) -> str:
    """Leave out of a text the secrets of every URL, and the credentials of every Authorization."""
    return _CREDENTIALS.sub(rf"\1 {REDACTED}", redact_url(text))


def redact_url(text: str) -> str:
    """Leave the secrets out of every URL in a text.

    What goes is the userinfo, the values of the query, and the fragment:
    `https://***@host/path?key=***#***`.
    """
    return _BEHIND_PATH.sub(_without_values, _USERINFO.sub(f"{REDACTED}@", text))


def _without_values(found: re.Match[str]) -> str:
    start, query, fragment, end = found.groups(default="")
    if found[2] is not None:
        start += "?" + "&".join(_without_value(part) for part in query.split("&"))
    return f"{start}#{REDACTED}{end}" if fragment else start + end


def _without_value(part: str) -> str:
    key = _KEY.match(part)
    # What stands there without a key may itself be the secret.
    return f"{key[0]}{REDACTED}" if key else REDACTED if part else ""
