"""What stands in the place of a secret where a value is shown."""

from __future__ import annotations

import re

REDACTED = "***"

# Greedy up to the last @ before a slash, since a password may itself hold an @.
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")


def redact_url(text: str) -> str:
    """Replace the userinfo of every URL in a text: `https://***@host/path`."""
    return _USERINFO.sub(f"{REDACTED}@", text)
