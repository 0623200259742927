"""The keys that attempts are signed with, read anew for each.

A key that is replaced on disk so signs the next attempt, without a restart. What was
parsed is kept for as long as the same bytes are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from collector.core.signing import SigningKey, load_ed25519, load_hmac
from collector.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from collector.config.model import NextKey, Product, Secret, Upstream

Which = Literal["current", "next"]


class UpstreamKeys:
    """The keys of one upstream's HTTP message signatures: the one of now, and the next.

    Args:
        upstream: says where they are, and their ids.
        environ: of the process.
    """

    def __init__(self, upstream: Upstream, *, environ: Mapping[str, str]) -> None:
        key_id = upstream.key_id or upstream.name
        self._environ = environ
        self._sources: dict[Which, _Source] = {
            "current": _Source(upstream, key_id, ""),
            "next": _Source(upstream.next, upstream.next.key_id or key_id, "next."),
        }

    @property
    def has_next(self) -> bool:
        """Whether a next one is configured."""
        return self._sources["next"].secret is not None

    def read(self, which: Which = "current") -> SigningKey:
        """Read a key; blocks on the disk.

        Raises:
            SecretError: it is not there, or open to others.
            ValueError: it is not the key that it should be.
        """
        return self._sources[which].read(self._environ)

    def files(self) -> Iterator[str]:
        """The files that they are in, there or not."""
        for source in self._sources.values():
            yield from files_of(source.secret, environ=self._environ)


class _Source:
    """Where one key is, and what was read there last."""

    def __init__(self, keys: Upstream | NextKey, key_id: str, table: str) -> None:
        self.secret = keys.secret if keys.key is None else keys.key
        self._load: Callable[[bytes, str], SigningKey] = load_hmac if keys.key is None else load_ed25519
        self._key_id = key_id
        self._stem = f"{table}{'secret' if keys.key is None else 'key'}"
        self._last: tuple[bytes, SigningKey] | None = None

    def read(self, environ: Mapping[str, str]) -> SigningKey:
        if self.secret is None:
            raise SecretError(found="no key", expected="key_file, or secret_file")
        content = _read(self.secret, environ, stem=self._stem)
        last = self._last
        if last is not None and last[0] == content:
            return last[1]
        key = self._load(content, self._key_id)
        self._last = (content, key)
        return key


class ProductSecrets:
    """The secrets of the Traintracks products: those of now, and the next.

    Args:
        products: as configured.
        environ: of the process.
    """

    def __init__(self, products: Mapping[str, Product], *, environ: Mapping[str, str]) -> None:
        self._products = products
        self._environ = environ

    def has_next(self, key: str) -> bool:
        """Whether a next one is configured for a product."""
        product = self._products.get(key)
        return product is not None and product.next_secret is not None

    def read(self, key: str, which: Which = "current") -> bytes:
        """Read a product's secret; blocks on the disk.

        Raises:
            SecretError: no secret is configured, it is not there, or open to others.
        """
        product = self._products.get(key)
        if product is None:
            raise SecretError(found=f"no secret of product {key}", expected="a [[product]] with that key")
        secret = product.secret if which == "current" else product.next_secret
        if secret is None:
            raise SecretError(found=f"no next secret of product {key}", expected="next_secret_file")
        stem = "secret" if which == "current" else "next_secret"
        return _read(secret, self._environ, stem=stem, of=f" of product {key}")

    def files(self) -> Iterator[str]:
        """The files that they are in, there or not."""
        for product in self._products.values():
            yield from files_of(product.secret, product.next_secret, environ=self._environ)


def _read(secret: Secret, environ: Mapping[str, str], *, stem: str, of: str = "") -> bytes:
    """Read it, and name the key of the configuration that says where it is when it cannot be."""
    try:
        return secret.read(environ)
    except SecretError as error:
        key = f"{stem}_{secret.source}{of}"
        raise SecretError(found=error.found, expected=error.expected, key=key) from None


def files_of(*secrets: Secret | None, environ: Mapping[str, str]) -> Iterator[str]:
    """The files that secrets are in, there or not."""
    for secret in secrets:
        if secret is not None and secret.source != "env":
            try:
                yield str(secret.path(environ))
            except SecretError:
                continue
