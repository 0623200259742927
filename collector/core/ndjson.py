"""NDJSON: a JSON text on each line."""

from __future__ import annotations

_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")


def in_a_line(text: bytes) -> bytes:
    """A JSON text without line breaks; the same object where it has none, for it may have megabytes.

    A line break is legal between the tokens of a text, never inside a string.
    """
    return text.translate(_LINE_BREAKS) if b"\n" in text or b"\r" in text else text
