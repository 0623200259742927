"""Sizes and durations as people write them.

A size is a number and a unit, `"512MiB"` or `"1.5GB"`; a duration is one or more of
them, `"30s"` or `"1h30m"`. `M` alone is refused: some mean 1,000,000 by it, some 1,048,576.
"""

from __future__ import annotations

import re
from decimal import Decimal

SIZES = {
    "B": 1,
    "KB": 1000,
    "KiB": 1024,
    "MB": 1000**2,
    "MiB": 1024**2,
    "GB": 1000**3,
    "GiB": 1024**3,
    "TB": 1000**4,
    "TiB": 1024**4,
}
"""Bytes in each unit; `kB` is taken for `KB`."""

DURATIONS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
    "w": Decimal(604800),
}
"""Seconds in each unit."""

# Bounded digits: a number of a million digits takes Python minutes to convert.
_NUMBER = r"[0-9]{1,16}(?:\.[0-9]{1,9})?"

SIZE_PATTERN = rf"^{_NUMBER} ?(?:[kK]B|[KMGT]iB|[MGT]?B)$"
DURATION_PATTERN = rf"^(?:{_NUMBER} ?(?:ms|s|m|h|d|w))(?: ?{_NUMBER} ?(?:ms|s|m|h|d|w))*$"
MODE_PATTERN = r"^0?[0-7]{3}$"

_PART = re.compile(rf"({_NUMBER}) ?([A-Za-z]+)")


def parse_size(text: str) -> int:
    """Bytes of a size such as `"512MiB"`.

    Raises:
        ValueError: it is not a size, or not a whole number of bytes.
    """
    part = _PART.fullmatch(text)
    if part is None or re.fullmatch(SIZE_PATTERN, text) is None:
        raise ValueError(f"not a size: {text!r}")
    number, unit = part.groups()
    size = Decimal(number) * SIZES["KB" if unit == "kB" else unit]
    if size != int(size):
        raise ValueError(f"not a size: {text!r}")
    return int(size)


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `"1h30m"`.

    Raises:
        ValueError: it is not a duration.
    """
    if re.fullmatch(DURATION_PATTERN, text) is None:
        raise ValueError(f"not a duration: {text!r}")
    return float(sum(Decimal(number) * DURATIONS[unit] for number, unit in _PART.findall(text)))


def parse_mode(text: str) -> int:
    """Permission bits of an octal string such as `"0660"`.

    Raises:
        ValueError: it is not three octal digits, with or without a zero before them.
    """
    if re.fullmatch(MODE_PATTERN, text) is None:
        raise ValueError(f"not a mode: {text!r}")
    return int(text, 8)


def format_size(size: int) -> str:
    """A size in the largest unit that holds it exactly."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % SIZES[unit] == 0:
            return f"{size // SIZES[unit]}{unit}"
    return f"{size}B"


def rounded_size(size: int) -> str:
    """A size for people: one decimal of the largest unit that it reaches, `7.7MiB`."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    index = 0
    while index < len(units) - 1 and round(size / SIZES[units[index]], 1) >= SIZES["KiB"]:
        index += 1
    return f"{size / SIZES[units[index]]:.1f}".removesuffix(".0") + units[index]


def rounded_duration(seconds: float) -> str:
    """A duration for people: whole numbers of its two largest units, `3d 4h`."""
    left = int(seconds)
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(left, int(DURATIONS[unit]))
        if parts or count:
            parts.append(f"{count}{unit}")
            left = rest
    return " ".join(part for part in parts[:2] if not part.startswith("0")) or "0s"


def format_duration(seconds: float) -> str:
    """A duration in the largest unit that holds it exactly; nanoseconds are the finest."""
    exact = Decimal(repr(round(float(seconds), 9)))
    for unit in ("d", "h", "m", "s", "ms"):
        if exact and exact % DURATIONS[unit] == 0:
            return f"{int(exact / DURATIONS[unit])}{unit}"
    return f"{exact:f}s" if exact else "0s"


def format_mode(mode: int) -> str:
    """Permission bits as an octal string of four digits."""
    return f"{mode:04o}"
