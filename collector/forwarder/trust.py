"""Whom an upstream's connection trusts."""

from __future__ import annotations

import ssl

from collector.errors import UpstreamError


def tls_context(*, upstream: str, ca_file: str | None) -> ssl.SSLContext:
    """Trust the system's certificates, and those of a file beside them.

    The system's are what OpenSSL was built to use; `SSL_CERT_FILE` and `SSL_CERT_DIR`
    take their place.

    Args:
        upstream: its name, for the error.
        ca_file: certificates in PEM, or None.

    Raises:
        UpstreamError: the file cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context()
    if ca_file is None:
        return context
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError:
        raise UpstreamError(upstream=upstream, reason=f"ca_file {ca_file} holds no certificates") from None
    except OSError as error:
        reason = f"ca_file {ca_file} cannot be read: {error.strerror}"
        raise UpstreamError(upstream=upstream, reason=reason) from None
    return context
