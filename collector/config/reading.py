"""The configuration's files, read: TOML, with the lines that errors name. No model and no checks."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from typing import TYPE_CHECKING

from collector.config.merge import DIRECTORY, Document, drop_ins
from collector.config.positions import key_lines
from collector.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from collector.config.positions import KeyPath

MAX_FILE_BYTES = 1024 * 1024
"""A configuration is a few KiB; more than this is the wrong file."""

_WHERE = re.compile(r" \(at line (\d+), column (\d+)\)$")


def read_all(file: Path) -> Document:
    """The configuration file, and what `conf.d` beside it adds.

    Raises:
        ConfigError: one of them cannot be read, or is no TOML.
    """
    document = Document(*_read(file))
    try:
        others = drop_ins(file)
    except OSError as error:
        found = f"a directory that cannot be read ({error.strerror})"
        place = str(file.with_name(DIRECTORY))
        raise ConfigError((Problem(place, None, "", found, "a directory of TOML files"),)) from None
    for other in others:
        document.add(*_read(other), str(other))
    return document


def read_what_can_be(file: Path) -> dict[str, object]:
    """The same for who only wants to know what it says: a file that cannot be read is left out."""
    document = Document()
    with suppress(ConfigError):
        document = Document(*_read(file))
    others: list[Path] = []
    with suppress(OSError):
        others = drop_ins(file)
    for other in others:
        with suppress(ConfigError):
            document.add(*_read(other), str(other))
    return document.tree


def _read(file: Path) -> tuple[dict[str, object], dict[KeyPath, int]]:
    def refuse(found: str, expected: str, line: int | None = None) -> ConfigError:
        return ConfigError((Problem(str(file), line, "", found, expected),))

    try:
        with file.open("rb") as handle:
            data = handle.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise refuse(f"a file that cannot be read ({reason})", "a configuration in TOML") from None
    if len(data) > MAX_FILE_BYTES:
        raise refuse(f"more than {MAX_FILE_BYTES} bytes", "a configuration in TOML")
    try:
        text = data.decode()
        return tomllib.loads(text), key_lines(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise refuse("bytes that are not UTF-8", "TOML, which is UTF-8", line) from None
    except tomllib.TOMLDecodeError as error:
        where = _WHERE.search(str(error))
        reason = _WHERE.sub("", str(error)).removesuffix(" (at end of document)")
        reason = reason[:1].lower() + reason[1:]
        if where is None:
            found = f"a syntax error at the end ({reason})"
            raise refuse(found, "valid TOML", data.count(b"\n") + 1) from None
        found = f"a syntax error at column {where[2]} ({reason})"
        raise refuse(found, "valid TOML", int(where[1])) from None
    except (RecursionError, ValueError):
        raise refuse("a value too deep or too long", "valid TOML") from None
