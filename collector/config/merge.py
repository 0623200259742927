"""One configuration out of several files: `config.toml`, then `conf.d/*.toml` beside it, by name.

Tables are merged key by key, arrays of tables are joined, and of any other key the last one
counts. Where each key stands is kept, so that errors name the file that is at fault.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from pathlib import Path

    from collector.config.positions import KeyPath

DIRECTORY = "conf.d"


@dataclass(slots=True)
class Document:
    """A tree of TOML values, and where its keys stand.

    Attributes:
        lines: by path.
        files: likewise, of those keys that are not of the first file.
    """

    tree: dict[str, object] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    files: dict[KeyPath, str] = field(default_factory=dict)

    def add(self, tree: dict[str, object], lines: dict[KeyPath, int], file: str) -> None:
        """Merge another file's into this one's."""
        self._merge(self.tree, tree, (), (), _Other(lines, file))

    def _merge(
        self, mine: dict[str, object], theirs: dict[str, object], here: KeyPath, there: KeyPath, other: _Other
    ) -> None:
        for key, value in theirs.items():
            path, source = (*here, key), (*there, key)
            present = mine.get(key)
            if isinstance(present, dict) and isinstance(value, dict):
                self._merge(present, value, path, source, other)
            elif _holds_tables(present) and _holds_tables(value):
                for index, table in enumerate(value):
                    self._take((*path, len(present)), (*source, index), other)
                    present.append(table)
            else:
                self._forget(path)
                self._take(path, source, other)
                mine[key] = value

    def _take(self, path: KeyPath, source: KeyPath, other: _Other) -> None:
        """Note where a value of another file, and all in it, stands."""
        self.files[path] = other.file
        for place, line in other.lines.items():
            if place[: len(source)] == source:
                self.lines[*path, *place[len(source) :]] = line

    def _forget(self, path: KeyPath) -> None:
        for known in (self.lines, self.files):
            for place in [place for place in known if place[: len(path)] == path]:
                del known[place]


@dataclass(frozen=True, slots=True)
class _Other:
    lines: dict[KeyPath, int]
    file: str


def _holds_tables(value: object) -> TypeGuard[list[dict[str, object]]]:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def drop_ins(file: Path) -> list[Path]:
    """The files that are merged into a configuration file, in order.

    Raises:
        OSError: the directory is there and cannot be read.
    """
    directory = file.absolute().parent / DIRECTORY
    if not directory.is_dir():
        return []
    return sorted(entry for entry in directory.iterdir() if entry.suffix == ".toml" and entry.is_file())
