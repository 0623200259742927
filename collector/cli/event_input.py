"""Events as people and scripts hold them: one object, an array, or NDJSON.

Each is passed on in the bytes that it came in. It is parsed only to see where it ends,
so that numbers keep their digits and a fault is found with its line.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

MAX_EVENTS = 1_000
"""Events of NDJSON in one request."""

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Bytes of NDJSON in one request; the daemon takes up to four times as much."""

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Post:
    """The body of one request.

    Attributes:
        body: a JSON array.
        lines: the line in the input of each event; empty where the input was one array.
        events: how many there are.
    """

    body: bytes
    lines: tuple[int, ...]
    events: int


def posts(source: BinaryIO) -> Iterator[Post]:
    """Divide an input into requests; nothing comes of an empty one.

    Args:
        source: read as the requests are taken, a line at a time where it is NDJSON.

    Raises:
        UsageError: it is none of the three forms; requests before it may have been taken.
    """
    number = 0
    first = b""
    for raw in source:
        number += 1
        first = (raw.removeprefix(_BOM) if number == 1 else raw).strip()
        if first:
            break
    else:
        return
    if not first.startswith(b"[") and _is_object(first):
        yield from _in_groups(_numbered(first, source, number))
        return
    yield _whole(first + b"\n" + source.read(), number)


def _whole(text: bytes, line: int) -> Post:
    """An array, or one object over several lines."""
    value = _parse(text, line)
    if isinstance(value, dict):
        return Post(b"[" + text.strip() + b"]", (line,), 1)
    if not isinstance(value, list):
        raise UsageError(f"line {line}: expected a JSON object, an array of them, or one on each line")
    return Post(text.strip(), (), len(value))


def _numbered(first: bytes, rest: Iterable[bytes], number: int) -> Iterator[tuple[int, bytes]]:
    yield number, first
    for line, raw in enumerate(rest, start=number + 1):
        event = raw.strip()
        if event:
            if not isinstance(_parse(event, line), dict):
                raise UsageError(f"line {line}: expected a JSON object")
            yield line, event


def _in_groups(events: Iterable[tuple[int, bytes]]) -> Iterator[Post]:
    lines: list[int] = []
    bodies: list[bytes] = []
    size = 0
    for line, event in events:
        if lines and (len(lines) == MAX_EVENTS or size + len(event) > MAX_BODY_BYTES):
            yield _group(bodies, lines)
            lines, bodies, size = [], [], 0
        lines.append(line)
        bodies.append(event)
        size += len(event) + 1
    if lines:
        yield _group(bodies, lines)


def _group(bodies: list[bytes], lines: list[int]) -> Post:
    return Post(b"[" + b",".join(bodies) + b"]", tuple(lines), len(lines))


def _is_object(text: bytes) -> bool:
    """Whether it is a whole object; one that goes on in the next line is not."""
    try:
        return isinstance(_parse(text, 1), dict)
    except UsageError:
        return False


def _parse(text: bytes, line: int) -> object:
    """Parse JSON, numbers excepted.

    Raises:
        UsageError: it is not JSON; the text says where, counting lines from `line`.
    """
    try:
        parsed: object = json.loads(
            text.decode(), parse_int=str, parse_float=str, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        where = f"line {line + error.lineno - 1}, column {error.colno}"
        raise UsageError(f"{where}: not JSON: {error.msg[:1].lower()}{error.msg[1:]}") from None
    except UnicodeDecodeError as error:
        at = line + text.count(b"\n", 0, error.start)
        raise UsageError(f"line {at}: not UTF-8") from None
    except RecursionError:
        raise UsageError(f"line {line}: nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"line {line}: not JSON: {error}") from None
    return parsed


def _refuse_constant(name: str) -> str:
    raise ValueError(f"{name} is not a number in JSON")
