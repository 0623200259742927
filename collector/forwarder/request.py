"""What is sent: the headers and the bytes of one attempt, as each dialect wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector import __version__
from collector.core.dialects.traintracks import UNKNOWN_ADDRESS
from collector.core.identity import batch_headers, label_header
from collector.core.signing import content_digest, covered, sign, traintracks_auth
from collector.forwarder.keys import ProductSecrets, UpstreamKeys
from collector.forwarder.packing import Packed, Packer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collector.config.model import Product, Upstream
    from collector.core.batch import SealedBatch
    from collector.forwarder.keys import Which
    from collector.forwarder.packing import Body


class RequestMaker:
    """Makes the requests of one upstream of kind `samsara` or `traintracks`.

    Args:
        upstream: how it wants them.
        url: encoded, as it is requested.
        host: the value of the Host header.
        products: the Traintracks products, by product key.
        environ: of the process, where secrets may be.
        labels: the operator's own, told the upstream.

    Attributes:
        packer: compresses; to be told of how fast the link is.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        url: str,
        host: str,
        products: Mapping[str, Product],
        environ: Mapping[str, str],
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self._labels = label_header(labels or {})
        self.packer = Packer()
        self._upstream = upstream
        self._url = url
        self._host = host
        self._products = ProductSecrets(products, environ=environ)
        self._keys = UpstreamKeys(upstream, environ=environ)

    def secret_files(self) -> Iterator[str]:
        """The files of its secrets, there or not."""
        yield from self._keys.files()
        if self._upstream.kind == "traintracks":
            yield from self._products.files()

    def holds_two(self, batch: SealedBatch) -> bool:
        """Whether there is a next key as well, for such a batch."""
        if self._upstream.kind == "traintracks":
            return self._products.has_next(batch.product)
        return self._upstream.signing == "rfc9421" and self._keys.has_next

    def make(
        self, batch: SealedBatch, body: Body, *, now: float, created: float, which: Which = "current"
    ) -> tuple[dict[str, str], bytes]:
        """Make a request; blocks on the disk and the processor.

        Args:
            batch: names itself in the headers.
            body: as rendered, or as it was packed meanwhile.
            now: seconds since 1970 by this machine's clock, as the events' own timestamps
                are: together they tell an upstream how far it is off.
            created: seconds since 1970 by the upstream's clock.
            which: of the two keys that are held.

        Returns:
            The headers, and the bytes that they speak of.

        Raises:
            SecretError: a key is not there.
            ValueError: a key or a header's value cannot be used.
        """
        upstream = self._upstream
        headers = {
            "Host": self._host,
            "User-Agent": f"waystation/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
        }
        if isinstance(body, Packed):
            content = body.content
        else:
            content = self.packer.pack(body) if upstream.compresses else body
        if isinstance(body, Packed) or upstream.compresses:
            headers["Content-Encoding"] = "gzip"
        headers |= {"Content-Length": str(len(content)), **batch_headers(batch), **self._labels}
        if upstream.kind == "traintracks":
            headers["X-Product-Key"] = batch.product
            headers["X-Product-Auth"] = traintracks_auth(content, self._products.read(batch.product, which))
            headers["Remote-Address"] = batch.remote_address or UNKNOWN_ADDRESS
            return headers, content
        headers["X-Samsara-publishedTimestamp"] = str(int(now * 1000))
        if upstream.signing == "rfc9421":
            headers["Content-Digest"] = content_digest(content)
            headers |= sign(
                method="POST",
                url=self._url,
                headers=headers,
                components=covered(headers),
                key=self._keys.read(which),
                created=int(created),
            )
        return headers, content
