"""What a receiver says came to it, as JSON between processes."""

from __future__ import annotations

import msgspec

LOST = "lost"
"""What stands for a status where the answer was not sent."""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken of one stream.

    Attributes:
        lane: `upstream/dialect`, for Traintracks with the product's key behind it.
        positions: in the order of arrival.
        events: their own text, in the same order.
    """

    lane: str
    positions: list[int]
    events: list[str]


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that held events which had been taken before.

    Attributes:
        key: of this batch.
        lane: likewise.
        events: how many of its events had been taken before.
        recognised: whether a batch of this key had come before, with the same positions and the
            same bytes; else it took the positions themselves to tell.
    """

    key: str
    lane: str
    events: int
    recognised: bool


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        taken: one entry a device, epoch and lane.
        repeats: in the order of arrival.
        problems: what should never happen, in words.
        answers: how many requests were answered with each status, or `LOST`.
    """

    taken: list[Taken] = []
    repeats: list[Repeat] = []
    problems: list[str] = []
    answers: dict[str, int] = {}
