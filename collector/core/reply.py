"""An upstream's answer, and how to read it.

Nothing in it is trusted: whatever cannot be read counts as not said.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from itertools import islice

import msgspec

from collector.core.pages import is_page

MAX_RETRY_AFTER = 3600.0
"""Seconds. An upstream that asks for more, by mistake or not, is asked again in an hour."""

EARLIEST_DATE = 1_577_836_800.0
LATEST_DATE = 7_258_118_400.0
"""2020 and 2200, seconds since 1970: no upstream's clock is outside these and right."""

MAX_EXCERPT = 300
"""Characters of an answer that are kept with a dead letter and shown to people."""

MAX_NAMED = 100
"""Events of one answer that are kept as named: the list is written again with each that is
buried. What an answer named beyond these is sent again, and named again."""

_KINDS = {
    "application/json": "JSON",
    "text/json": "JSON",
    "text/plain": "plain text",
    "application/xml": "XML",
    "text/xml": "XML",
}
"""What a body is called, by its media type."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An upstream's answer.

    Attributes:
        content_type: as sent, empty where it was not.
        body: its start, as much as the sender keeps, without any gzip that could be undone.
        whole: whether that is all of it. The rest came too, and was dropped.
        opaque: whether it is in a coding that cannot be undone here.
        retry_after: the header as sent.
        date: the header as sent.
    """

    status: int
    content_type: str = ""
    body: bytes = b""
    retry_after: str | None = None
    date: str | None = None
    whole: bool = True
    opaque: bool = False

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in small letters."""
        return self.content_type.partition(";")[0].strip().lower()

    @property
    def excerpt(self) -> str:
        """The start of its body for people; nothing where that cannot be read."""
        return "" if self.opaque else excerpt(self.body)


def retry_after(reply: Reply, *, now_ms: int) -> float | None:
    """Seconds that an answer asks to wait, None where it does not say or says nothing sane.

    A date counts from the answer's own Date, so a wrong clock here does no harm.
    """
    value = (reply.retry_after or "").strip()
    if value.isascii() and value.isdigit():
        # More digits than an hour has could be too many for int().
        return MAX_RETRY_AFTER if len(value.lstrip("0")) > len("3600") else min(float(value), MAX_RETRY_AFTER)
    until = http_date(value)
    if until is None:
        return None
    now = http_date(reply.date or "")
    wait = until - (now_ms / 1000 if now is None else now)
    return min(max(wait, 0.0), MAX_RETRY_AFTER)


def http_date(value: str) -> float | None:
    """Read an HTTP date, in seconds since 1970; None where it is none."""
    if not value:
        return None
    try:
        date = parsedate_to_datetime(value)
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return seconds if EARLIEST_DATE <= seconds < LATEST_DATE else None


def described(reply: Reply) -> str:
    """What kind of body an answer has, and how long it is, without a word of it.

    A header may repeat what is in an event as well, so a type is told only where it is a usual one.
    """
    kind = _KINDS.get(reply.media_type, "JSON" if reply.media_type.endswith("+json") else "a body")
    if is_page(reply):
        kind = "HTML"
    return f"{kind} of {len(reply.body):,} bytes{'' if reply.whole else ' and more'}"


def excerpt(body: bytes) -> str:
    """The start of an answer's body on one line that is safe to print."""
    text = body[: 4 * MAX_EXCERPT].decode(errors="replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_EXCERPT]


def named_events(reply: Reply, events: int) -> tuple[tuple[int, str], ...]:
    """Read which events an answer refuses, from an array with one string an event.

    Args:
        reply: the answer.
        events: in the batch.

    Returns:
        (index, what is wrong) for each of the first strings that are not "OK"; nothing where the body is
        no such array, or not there whole.
    """
    if not reply.whole:
        return ()
    try:
        verdicts = msgspec.json.decode(reply.body, type=list[str])
    except (ValueError, RecursionError):  # DecodeError is a ValueError; so is bad UTF-8
        return ()
    if len(verdicts) != events:
        return ()
    named = ((index, excerpt(text.encode())) for index, text in enumerate(verdicts) if text != "OK")
    return tuple(islice(named, MAX_NAMED))
