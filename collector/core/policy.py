"""Which statuses of an upstream's answers mean what, by dialect and as configured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Policy:
    """Which statuses mean what; disjoint. What is in none is Blocked, 413 is Split."""

    success: frozenset[int]
    retry: frozenset[int]
    block: frozenset[int]
    reject: frozenset[int]


_RETRY = frozenset({408, 409, 425, 429}) | (frozenset(range(500, 600)) - {501, 505, 511})
_BLOCK = frozenset({401, 403, 404, 405, 410})
_REJECT = frozenset({400, 422})

DEFAULT = {
    "samsara": Policy(frozenset({202, 200}), _RETRY, _BLOCK, _REJECT),
    "traintracks": Policy(frozenset({200}), _RETRY, _BLOCK, _REJECT),
}
"""By dialect."""


def policy_for(
    dialect: str,
    *,
    success: Iterable[int] | None = None,
    retry: Iterable[int] | None = None,
    block: Iterable[int] | None = None,
    reject: Iterable[int] | None = None,
) -> Policy:
    """An upstream's policy: the dialect's, with what the configuration says otherwise.

    Args:
        dialect: a key of `DEFAULT`.
        success: the statuses that mean success, in place of the dialect's.
        retry: statuses that get this verdict instead of their usual one; so for the
            next two. A status in several counts for the first of block, retry, reject.
        block: see `retry`.
        reject: see `retry`.
    """
    default = DEFAULT[dialect]
    blocks = frozenset(block or ())
    retries = frozenset(retry or ()) - blocks
    rejects = frozenset(reject or ()) - blocks - retries
    said = blocks | retries | rejects
    successes = (default.success if success is None else frozenset(success)) - said
    said |= successes
    return Policy(
        success=successes,
        retry=retries | (default.retry - said),
        block=blocks | (default.block - said),
        reject=rejects | (default.reject - said),
    )
