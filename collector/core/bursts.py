"""Bursts: what to tell of counters that may rise for hours: that it began, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

Key = TypeVar("Key", bound="Hashable")


@dataclass(frozen=True, slots=True)
class Burst(Generic[Key]):
    """A rise of one counter.

    Attributes:
        count: by how much it rose since the burst began.
        over: whether it rises no more.
    """

    key: Key
    count: int
    over: bool


class Bursts(Generic[Key]):
    """Looks at counters now and then."""

    def __init__(self) -> None:
        self._known: dict[Key, int] = {}
        self._began: dict[Key, int] = {}

    def look(self, counters: Mapping[Key, int]) -> list[Burst[Key]]:
        """The bursts that began since the last look, and those that were over by then."""
        found = []
        for key, count in counters.items():
            known = self._known.get(key, 0)
            if count > known and key not in self._began:
                self._began[key] = known
                found.append(Burst(key, count - known, over=False))
            elif count == known and key in self._began:
                found.append(Burst(key, count - self._began.pop(key), over=True))
            self._known[key] = count
        return found
