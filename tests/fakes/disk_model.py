"""A disk that may lose power at any moment.

What a program did to its files is recorded, and replayed up to a crash. What was synced
is there then. What was not is up to chance: each write and each change of a file's length
may have reached the disk or not, whatever came before or behind it, and a write may have
reached it in part, by whole sectors. A directory's entry (a file made or removed) may be
missing until the directory was synced, or a later entry of the same name with it.

The one thing that a sector does not do is to harm bytes that were not written: SQLite
relies on that too, as its documentation says ("powersafe overwrite").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random  # noqa: TID251 - the caller's, and seeded

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Made:
    """A file was made, under a number of its own."""

    name: str
    file: int


@dataclass(frozen=True, slots=True)
class Removed:
    name: str


@dataclass(frozen=True, slots=True)
class Written:
    file: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Resized:
    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Synced:
    """A file was synced, and its directory with it where that is said; None for that alone."""

    file: int | None
    directory: bool = False


Operation = Made | Removed | Written | Resized | Synced
Image = dict[str, bytes]
"""What a disk holds: each file's bytes by its name."""


@dataclass
class Disk:
    """A disk as its user sees it: each operation as it is done.

    Attributes:
        base: what it held before the first.
    """

    base: Image = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._made = len(self.base)
        self._names = {name: number for number, name in enumerate(self.base)}

    @property
    def now(self) -> int:
        """How many operations were done."""
        return len(self.operations)

    def open(self, name: str) -> int:
        """The number of the file of that name, which is made where there is none."""
        if name not in self._names:
            self._names[name] = self._made
            self._made += 1
            self.operations.append(Made(name, self._names[name]))
        return self._names[name]

    def remove(self, name: str, *, sync: bool) -> None:
        if self._names.pop(name, None) is not None:
            self.operations.append(Removed(name))
        if sync:
            self.operations.append(Synced(None, directory=True))


@dataclass
class _File:
    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[Written | Resized] = field(default_factory=list)

    def sync(self) -> None:
        for operation in self.unsynced:
            _do(operation, self.durable)
        self.unsynced.clear()


def _do(operation: Written | Resized, content: bytearray) -> None:
    if isinstance(operation, Resized):
        del content[operation.size :]
        content.extend(bytes(operation.size - len(content)))
        return
    end = operation.offset + len(operation.data)
    content.extend(bytes(max(0, end - len(content))))
    content[operation.offset : end] = operation.data


class Crashes:
    """A disk's life, gone through once, with what each crash on the way may leave."""

    def __init__(self, disk: Disk) -> None:
        self._operations = disk.operations
        self._done = 0
        self._files = {number: _File(bytearray(data)) for number, data in enumerate(disk.base.values())}
        self._names = {name: number for number, name in enumerate(disk.base)}
        self._entries: list[Made | Removed] = []

    def after(self, done: int, chance: Random) -> Image:
        """What is there when the power fails after so many operations; they only ever go up."""
        assert done >= self._done
        for operation in self._operations[self._done : done]:
            self._apply(operation)
        self._done = done
        survival = _Survival(chance)
        return {name: self._content(number, survival) for name, number in self._directory(chance).items()}

    def _apply(self, operation: Operation) -> None:
        match operation:
            case Made():
                self._files[operation.file] = _File()
                self._entries.append(operation)
            case Removed():
                self._entries.append(operation)
            case Written() | Resized():
                self._files[operation.file].unsynced.append(operation)
            case Synced():
                if operation.file is not None:
                    self._files[operation.file].sync()
                if operation.directory:
                    self._names = _entered(self._names, self._entries)
                    self._entries.clear()

    def _directory(self, chance: Random) -> dict[str, int]:
        surviving = []
        for name in dict.fromkeys(entry.name for entry in self._entries):
            entries = [entry for entry in self._entries if entry.name == name]
            surviving += entries[: chance.randint(0, len(entries))]
        return _entered(self._names, surviving)

    def _content(self, number: int, survival: _Survival) -> bytes:
        file = self._files[number]
        content = bytearray(file.durable)
        for operation in survival.of(file.unsynced):
            _do(operation, content)
        return bytes(content)


def _entered(names: dict[str, int], entries: list[Made | Removed]) -> dict[str, int]:
    names = dict(names)
    for entry in entries:
        if isinstance(entry, Made):
            names[entry.name] = entry.file
        else:
            names.pop(entry.name, None)
    return names


class _Survival:
    """One way in which unsynced operations reach the disk or do not."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._in_order = chance.random() < 0.25
        self._share = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        self._torn = chance.choice((0.0, 0.2, 1.0))

    def of(self, operations: list[Written | Resized]) -> Iterator[Written | Resized]:
        if self._in_order:
            reached = self._chance.randint(0, len(operations))
            yield from operations[:reached]
            operations = operations[reached : reached + 1]
        for operation in operations:
            if self._chance.random() >= self._torn:
                if self._chance.random() < self._share:
                    yield operation
            elif isinstance(operation, Written):
                yield from self._sectors(operation)

    def _sectors(self, write: Written) -> Iterator[Written]:
        start = 0
        while start < len(write.data):
            at = write.offset + start
            end = start + SECTOR - at % SECTOR
            if self._chance.random() < self._share:
                yield Written(write.file, at, write.data[start:end])
            start = end
