"""What a listener's endpoint for events goes by: who may send what, how much of it, and what is counted."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from collector.core.limits import ContentLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Dialect = Literal["samsara", "traintracks"]

OTHERS = -1
"""Stands for all users beyond the first `MAX_USERS`, in counts."""

MAX_USERS = 1000
"""Users that are counted by themselves."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What one listener takes, as the configuration says.

    Attributes:
        takes: whether any upstream takes a dialect and product (empty for Samsara).
        secrets: by product key, all that are valid now. Empty: no product is configured, and
            any key is taken without a look at its signature.
        auth: what a Traintracks request without a signature gets; `off` ignores signatures.
        strict: warnings about Traintracks events are errors.
        users: by product key, the user ids that alone may send for it; a product that is not there
            is anyone's.
        limits: what a body must keep to.
    """

    takes: Callable[[Dialect, str], bool]
    secrets: Mapping[str, tuple[bytes, ...]]
    auth: Literal["required", "if-present", "off"] = "required"
    strict: bool = False
    users: Mapping[str, frozenset[int]] = field(default_factory=dict)
    limits: ContentLimits = field(default_factory=ContentLimits)


@dataclass(slots=True)
class Counts:
    """What came in since the start.

    Attributes:
        requests: committed.
        events: committed.
        bytes: of committed requests' bodies, as they came.
        warnings: about events that were committed all the same.
        refused: requests answered 4xx after their body was read.
        failed: requests answered 503, since the spool was full or could not commit.
    """

    requests: int = 0
    events: int = 0
    bytes: int = 0
    warnings: int = 0
    refused: int = 0
    failed: int = 0


def _fresh() -> dict[Dialect, Counts]:
    return {"samsara": Counts(), "traintracks": Counts()}


@dataclass(slots=True)
class Intakes:
    """What came in, by dialect and by user; several listeners may share one.

    Attributes:
        dialects: by dialect.
        users: by the user id that the kernel named; None for all that came over TCP, and `OTHERS`.
    """

    dialects: dict[Dialect, Counts] = field(default_factory=_fresh)
    users: dict[int | None, Counts] = field(default_factory=lambda: defaultdict(Counts))

    def of(self, dialect: Dialect, uid: int | None) -> tuple[Counts, Counts]:
        """The counts that one request belongs to."""
        if len(self.users) >= MAX_USERS and uid not in self.users:
            uid = OTHERS
        return self.dialects[dialect], self.users[uid]
