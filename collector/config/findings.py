"""What is wrong with a configuration, collected rather than raised one by one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.config.redact import redact_url
from collector.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.config.positions import KeyPath

PREFIX = "WAYSTATION_"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN = 80
"""Characters of a value that an error repeats."""

_HUGE = 10**20
"""Python will not even print some of the integers that TOML's hexadecimal can write."""


@dataclass(slots=True)
class Findings:
    """The problems found so far, and what is known of where each value came from.

    Attributes:
        file: the configuration file's path, or what stands for it.
        lines: the line of each key in that file.
        overrides: the environment variable behind each value that has one, by path.
        tree: the TOML values themselves.
        files: the file of each key that is not of the first one, by path.
        problems: in the order found.
    """

    file: str
    lines: Mapping[KeyPath, int]
    overrides: Mapping[KeyPath, str]
    tree: Mapping[str, object]
    files: Mapping[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _faulty: set[KeyPath] = field(default_factory=set)

    def add(self, path: KeyPath, *, found: str, expected: str) -> None:
        """Note one problem; a second one with the same value is not noted."""
        if not self.sound(path):
            return
        self._faulty.add(path)
        if self._from_environment(path):
            name = self.overrides.get(path) or variable_name(path)
            self.problems.append(Problem("environment", None, name, found, expected))
        else:
            self.problems.append(
                Problem(self.file_of(path), self._line(path), key_text(path), found, expected)
            )

    def file_of(self, path: KeyPath) -> str:
        """The file that gives a value; the first one where none or the environment does."""
        if not self._from_environment(path):
            for depth in range(len(path), 0, -1):
                if path[:depth] in self.files:
                    return self.files[path[:depth]]
        return self.file

    def distrust(self, path: KeyPath) -> None:
        """Have nothing more noted of a value, of which something was noted already."""
        self._faulty.add(path)

    def sound(self, *paths: KeyPath) -> bool:
        """Whether nothing was found wrong with these values or what holds them."""
        return not any(path[:depth] in self._faulty for path in paths for depth in range(len(path) + 1))

    def given(self, path: KeyPath) -> bool:
        """Whether the file or the environment gives this value, rather than a default."""
        place: object = self.tree
        for part in path:
            if isinstance(place, list) and isinstance(part, int):
                place = dict(enumerate(place))
            if not isinstance(place, dict) or part not in place:
                return False
            place = place[part]
        return True

    def sorted(self) -> tuple[Problem, ...]:
        """The problems in the order of the files, those of the environment last."""

        def place(problem: Problem) -> tuple[bool, bool, str, int]:
            others = problem.file != self.file
            return problem.file == "environment", others, problem.file, problem.line or 0

        return tuple(sorted(self.problems, key=place))

    def _from_environment(self, path: KeyPath) -> bool:
        return any(path[:depth] in self.overrides for depth in range(1, len(path) + 1))

    def _line(self, path: KeyPath) -> int | None:
        for depth in range(len(path), 0, -1):
            line = self.lines.get(path[:depth])
            if line is not None:
                return line
        return None


def key_text(path: KeyPath) -> str:
    """A path as people write it: `upstream[0].backoff.max`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if _BARE_KEY.fullmatch(part) else json.dumps(part)
            text += f".{shown}" if text else shown
    return text


def variable_name(path: KeyPath) -> str:
    """The environment variable for a path: `WAYSTATION_UPSTREAM__0__BACKOFF__MAX`."""
    return PREFIX + "__".join(str(part).upper() for part in path)


def shown(value: object, *, secret: bool = False) -> str:
    """A value as an error repeats it: on one line, bounded, and without secrets.

    Args:
        value: of a TOML tree.
        secret: whether the value may be, or stand in the place of, a secret.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float) and secret:
        return "a value not shown here"
    if isinstance(value, str):
        text = json.dumps(redact_url(value), ensure_ascii=False)
        return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    if isinstance(value, int | float):
        return "a huge number" if isinstance(value, int) and abs(value) > _HUGE else str(value)
    if isinstance(value, dict):
        return "a table"
    return "an array" if isinstance(value, list) else "a date or time"
