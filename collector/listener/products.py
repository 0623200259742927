"""The products' secrets, as the listeners check them; a rotated one is taken up while the daemon runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from collector.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collector.config.model import Product


class ProductSecrets(dict[str, tuple[bytes, ...]]):
    """By product key, the secret of now, the one before it, and the next: apps do not change theirs at once.

    Raises:
        SecretError: one cannot be read at the start.
    """

    def __init__(self, products: Sequence[Product], environ: Mapping[str, str]) -> None:
        self._products = products
        self._environ = environ
        self._unreadable: set[str] = set()
        self._known: dict[str, tuple[bytes, ...]] = {
            product.key: (product.secret.read(environ),) for product in products
        }
        super().__init__((product.key, self._all(product)) for product in products)

    def refresh(self) -> None:
        """Read them again; one that cannot be read stays as it was."""
        for product in self._products:
            log = structlog.get_logger().bind(product=product.key)
            try:
                secret = product.secret.read(self._environ)
            except SecretError as error:
                if product.key not in self._unreadable:
                    log.warning("product_key_unreadable", reason=str(error))
                self._unreadable.add(product.key)
                continue
            self._unreadable.discard(product.key)
            known = self._known[product.key]
            if secret != known[0]:
                self._known[product.key] = (secret, known[0])
                log.info("product_key_rotated")
            self[product.key] = self._all(product)

    def _all(self, product: Product) -> tuple[bytes, ...]:
        known = self._known[product.key]
        if product.next_secret is None:
            return known
        try:
            return (*known, product.next_secret.read(self._environ))
        except SecretError:  # it need not be there yet
            return known
