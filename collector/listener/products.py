"""The products' secrets, as the listeners check them; a rotated one is taken up while the daemon runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from collector.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collector.config.model import Product


class ProductSecrets(dict[str, tuple[bytes, ...]]):
    """By product key, the secret of now and the one before it: apps do not change theirs at the same moment.

    Raises:
        SecretError: one cannot be read at the start.
    """

    def __init__(self, products: Sequence[Product], environ: Mapping[str, str]) -> None:
        super().__init__((product.key, (product.secret.read(environ),)) for product in products)
        self._products = products
        self._environ = environ
        self._unreadable: set[str] = set()

    def take_up(self, others: ProductSecrets) -> None:
        """Hold another configuration's; the secret before one that differs stays valid, as in `refresh`."""
        self._products = others._products
        for gone in self.keys() - others.keys():
            del self[gone]
        for key, secrets in others.items():
            if key not in self:
                self[key] = secrets
        self.refresh()

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
            if secret != self[product.key][0]:
                self[product.key] = (secret, self[product.key][0])
                log.info("product_key_rotated")
