"""Where each key of a TOML text stands.

`tomllib` tells positions of syntax errors only. This scan runs over text that `tomllib`
has accepted, so it need not judge, only keep count: headers, keys, and how far each
value reaches.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

KeyPath = tuple[str | int, ...]
"""A place in a TOML tree: `("upstream", 0, "backoff", "max")`."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN_VALUE = re.compile(r"[^,\]}#\n]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:[^"\\]|\\.)*"'),
    re.compile(r"'[^']*'"),
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line of each key, table header, and array element of a valid TOML text.

    Args:
        text: what `tomllib.loads` accepted.

    Returns:
        Lines, counted from 1, by path. A table's line is its first header or key.
    """
    scan = _Scan(text)
    scan.document()
    return scan.lines


class _Scan:
    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._last_index: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        while self._skip_blank():
            if self._text.startswith("[[", self._at):
                self._at += 2
                table = self._element(self._key())
            elif self._text[self._at] == "[":
                self._at += 1
                table = self._enter((), self._key())
            else:
                self._pair(table)
                continue
            self._at = self._end_of_line()

    def _element(self, key: list[str]) -> KeyPath:
        array = (*self._enter((), key[:-1]), key[-1])
        index = self._last_index.get(array, -1) + 1
        self._last_index[array] = index
        self._note(array)
        return self._note((*array, index))

    def _enter(self, table: KeyPath, key: list[str]) -> KeyPath:
        """The path of a key below a table, through the latest element of arrays of tables."""
        for part in key:
            table = self._note((*table, part))
            if table in self._last_index:
                table = (*table, self._last_index[table])
        return table

    def _pair(self, table: KeyPath) -> None:
        path = self._enter(table, self._key())
        self._at = self._text.index("=", self._at) + 1
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip_blank()
        opening = self._text[self._at]
        if opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline_table(path)
        elif opening in "\"'":
            self._string()
        else:
            self._at = _end(_PLAIN_VALUE, self._text, self._at)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        while self._skip_blank() and self._text[self._at] != "]":
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._value(self._note((*path, index)))
            index += 1
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while self._skip_blank() and self._text[self._at] != "}":
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._pair(path)
        self._at += 1

    def _key(self) -> list[str]:
        """The parts of a dotted key; stops behind it."""
        parts: list[str] = []
        while True:
            self._skip_blank()
            start = self._at
            if self._text[start] in "\"'":
                self._string()
                # A quoted key has a string's escapes.
                parts.append(str(tomllib.loads(f"key = {self._text[start : self._at]}")["key"]))
            else:
                self._at = _end(_BARE_KEY, self._text, start)
                parts.append(self._text[start : self._at])
            self._skip_blank()
            if self._text[self._at] != ".":
                return parts
            self._at += 1

    def _string(self) -> None:
        for pattern in _STRINGS:
            match = pattern.match(self._text, self._at)
            if match is not None:
                self._at = match.end()
                return

    def _note(self, path: KeyPath) -> KeyPath:
        self.lines.setdefault(path, bisect_right(self._breaks, self._at - 1) + 1)
        return path

    def _skip_blank(self) -> bool:
        """Skip blanks, line breaks and comments; False at the end of the text."""
        self._at = _end(_BLANK, self._text, self._at)
        return self._at < len(self._text)

    def _end_of_line(self) -> int:
        found = self._text.find("\n", self._at)
        return len(self._text) if found < 0 else found


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return at if match is None else match.end()
