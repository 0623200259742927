"""What a listener's endpoint for events goes by: who may send what, how much of it, and what is counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from collector.core.limits import ContentLimits
from collector.listener.product_keys import ProductKeys

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
        keys: of products, that have brought events, and how many there may be.
    """

    takes: Callable[[Dialect, str], bool]
    secrets: Mapping[str, tuple[bytes, ...]]
    auth: Literal["required", "if-present", "off"] = "required"
    strict: bool = False
    users: Mapping[str, frozenset[int]] = field(default_factory=dict)
    limits: ContentLimits = field(default_factory=ContentLimits)
    keys: ProductKeys = field(default_factory=ProductKeys)


@dataclass(slots=True)
class Answered:
    """Requests that were answered alike."""

    requests: int = 0
    events: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Counts:
    """What one dialect, or one user, brought since the start.

    Attributes:
        requests: committed.
        events: committed.
        warnings: about events that were committed all the same.
        refused: requests answered 4xx after their body was read.
        failed: requests answered 503, since the spool was full or could not commit, or for too many products.
        answers: all of them by status; those refused by their head alone among them.
    """

    requests: int = 0
    events: int = 0
    warnings: int = 0
    refused: int = 0
    failed: int = 0
    answers: dict[int, Answered] = field(default_factory=dict)

    def answered(self, status: int, *, size: int, events: int = 0) -> None:
        """Count one request by its answer.

        Args:
            status: the answer's.
            size: bytes of the body as it was received.
            events: in it, as far as they were counted.
        """
        row = self.answers.get(status)
        if row is None:
            row = self.answers[status] = Answered()
        row.requests += 1
        row.bytes += size
        row.events += events


def fresh_counts() -> dict[Dialect, Counts]:
    """Counts at nought; several listeners may share one."""
    return {"samsara": Counts(), "traintracks": Counts()}


class UserCounts(dict[int | None, Counts]):
    """Counts by the user id that the kernel named; None for all that came over TCP, and `OTHERS`."""

    def of(self, uid: int | None) -> Counts:
        """Those of one user, or of all that are beyond the bound."""
        counts = self.get(uid)
        if counts is None:
            if len(self) >= MAX_USERS:
                uid = OTHERS
            counts = self.setdefault(uid, Counts())
        return counts
