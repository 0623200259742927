"""The keys that attempts are signed with, read anew for each.

A key that is replaced on disk so signs the next attempt, without a restart. What was
parsed is kept for as long as the same bytes are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.core.signing import SigningKey, load_ed25519, load_hmac
from collector.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from collector.config.model import Secret, Upstream


class UpstreamKey:
    """The key of one upstream's HTTP message signatures.

    Args:
        upstream: says where the key is, and its id.
        environ: of the process.
    """

    def __init__(self, upstream: Upstream, *, environ: Mapping[str, str]) -> None:
        self._key_id = upstream.key_id or upstream.name
        self._environ = environ
        self._source, self._load = _source(upstream)
        self._last: tuple[bytes, SigningKey] | None = None

    def read(self) -> SigningKey:
        """Read the key; blocks on the disk.

        Raises:
            SecretError: it is not there, or open to others.
            ValueError: it is not the key that it should be.
        """
        if self._source is None:
            raise SecretError(found="no key", expected="key_file, or secret_file")
        content = self._source.read(self._environ)
        last = self._last
        if last is not None and last[0] == content:
            return last[1]
        key = self._load(content, self._key_id)
        self._last = (content, key)
        return key


def _source(upstream: Upstream) -> tuple[Secret | None, Callable[[bytes, str], SigningKey]]:
    if upstream.key is not None:
        return upstream.key, load_ed25519
    return upstream.secret, load_hmac


class ProductSecrets:
    """The secrets of the Traintracks products.

    Args:
        products: by product key.
        environ: of the process.
    """

    def __init__(self, products: Mapping[str, Secret], *, environ: Mapping[str, str]) -> None:
        self._products = products
        self._environ = environ

    def read(self, product: str) -> bytes:
        """Read a product's secret; blocks on the disk.

        Raises:
            SecretError: no secret is configured, it is not there, or open to others.
        """
        secret = self._products.get(product)
        if secret is None:
            raise SecretError(found=f"no secret of product {product}", expected="a [[product]] with that key")
        return secret.read(self._environ)
