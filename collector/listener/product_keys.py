"""The product keys that have brought events, and how many there may be of them.

While no product is configured any key is taken, and whoever may post makes up as many as they
like. Each is a stream and a lane for each upstream, in memory and in tables, for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from collector.core.bursts import Bursts
from collector.core.limits import MAX_PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collector.config.model import Config


class ProductKeys:
    """Of all listeners together.

    Args:
        known: that the spool has had events of; they count, and stay welcome.
        config: says how many there may be, and names those that are welcome all the same.

    Attributes:
        refused: requests of new keys, since the start.
    """

    def __init__(self, known: Iterable[str] = (), config: Config | None = None) -> None:
        self.refused = 0
        self._known = set(known)
        self._named: frozenset[str] = frozenset()
        self._most = MAX_PRODUCTS
        self._bursts: Bursts[str] = Bursts()
        if config is not None:
            self.change(config)

    def __len__(self) -> int:
        return len(self._known)

    def change(self, config: Config) -> None:
        """Go by another configuration from now on."""
        self._named = frozenset(product.key for product in config.product)
        self._most = config.limits.max_products

    def admits(self, key: str) -> bool:
        """Whether events of this key may come in; counts the refusal."""
        if key in self._known or key in self._named or len(self._known) < self._most:
            return True
        self.refused += 1
        return False

    def enter(self, key: str) -> None:
        """Its events come in."""
        self._known.add(key)

    def tell(self) -> None:
        """Log that requests are refused, and how many it were once it is over; for calls now and then."""
        for burst in self._bursts.look({"": self.refused}):
            told = "requests_refused_in_all" if burst.over else "requests_refused"
            structlog.get_logger().warning(
                told, reason="limits.max_products is reached", products=len(self), requests=burst.count
            )
