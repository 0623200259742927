"""Events in passing, for those who watch; while nobody does, one look at an empty list is all it costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Sighting:
    """Events that were accepted, or delivered, together.

    Attributes:
        at: ms since 1970.
        count: of the events.
        size: bytes that holding on to them takes.
        events: gives the events' own bytes, in order; asked only of what is shown.
        lane: that delivered them; empty for those accepted.
        batch: likewise, its id.
        first: position of the first of them, where they were delivered.
        uid: the user id of who sent them, where they were accepted and the kernel named it.
    """

    what: Literal["accepted", "delivered"]
    at: int
    dialect: str
    product: str
    count: int
    size: int
    events: Callable[[], Sequence[bytes]]
    lane: str = ""
    batch: str = ""
    first: int | None = None
    uid: int | None = None


@dataclass(slots=True)
class Tap:
    """Where events pass.

    Attributes:
        watchers: told of all that passes; they must not block. Whoever passes something asks first
            whether there are any, and makes no `Sighting` where there are none.
    """

    watchers: list[Callable[[Sighting], None]] = field(default_factory=list)

    def tell(self, sighting: Sighting) -> None:
        """Tell all who watch."""
        for watcher in tuple(self.watchers):
            watcher(sighting)
