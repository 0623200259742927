"""An upstream that may be down."""

from __future__ import annotations

from fakes.upstream import Behaviour, Upstream


class Outage(Upstream):
    """An upstream that answers 503 while it is down.

    Attributes:
        down: whether it is.
    """

    down = False

    def next_behaviour(self) -> Behaviour:
        return Behaviour(status=503) if self.down else super().next_behaviour()
