"""Whom an upstream's connection trusts, and what it shows of itself."""

from __future__ import annotations

import base64
import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from collector.core.failure import Failure
from collector.errors import SecretError, UpstreamError
from collector.forwarder.keys import files_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from collector.config.model import Secret, Upstream

PIN_PREFIX = "sha256//"

_MISSING = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the upstream asks for a client certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the upstream ends the handshake; it may ask for a client certificate",
}
_REFUSALS = {
    "SSLV3_ALERT_BAD_CERTIFICATE": "the upstream refuses the client certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the upstream refuses the client certificate: it has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the upstream refuses the client certificate: it was revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the upstream refuses the client certificate",
    "TLSV1_ALERT_ACCESS_DENIED": "the upstream refuses the client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the upstream refuses the client certificate: it does not know who signed it",
}
"""What OpenSSL calls the alerts that an upstream ends a handshake with."""

_BY_VERIFICATION = {
    **dict.fromkeys((62, 63, 64), Failure.TLS_OTHER_HOST),  # host name, e-mail, address
    9: Failure.TLS_NOT_YET_VALID,
    10: Failure.TLS_EXPIRED,
    # No issuer's certificate at hand, or one that signed itself (18: alone, 19: in a chain).
    **dict.fromkeys((2, 18, 19, 20, 21), Failure.TLS_UNKNOWN_ISSUER),
}
"""OpenSSL's X509_V_ERR_* (x509_vfy.h)."""


class PinMismatch(ssl.SSLError):
    """The upstream has another key than those that are pinned; raised within the handshake."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """What TLS connections are made with: to the upstream, and to an https:// proxy on the way."""

    upstream: ssl.SSLContext
    proxy: ssl.SSLContext | None


class Trust:
    """The TLS contexts of one upstream's connections, made anew when one of its files changes.

    Trusted are the certificates that OpenSSL was built to use (`SSL_CERT_FILE` and
    `SSL_CERT_DIR` take their place), and those of `ca_file` beside them.

    Args:
        upstream: says which files, and which keys are pinned.
        environ: of the process, where credentials may be.
        proxy: URL of the proxy on the way, if there is one.

    Raises:
        UpstreamError: as `contexts` does.
    """

    def __init__(self, upstream: Upstream, environ: Mapping[str, str], *, proxy: str | None) -> None:
        self._upstream = upstream
        self._environ = environ
        self._proxy_tls = (proxy or "").startswith("https:")
        self._last = (self.files(), self._make())

    def contexts(self) -> Contexts:
        """The contexts, the same ones for as long as their files stay as they are; blocks on the disk.

        Raises:
            UpstreamError: a file cannot be read, or is not what it should be.
        """
        files = self.files()
        if files != self._last[0]:
            self._last = (files, self._make())
        return self._last[1]

    def files(self) -> tuple[object, ...]:
        """What the files look like from outside; another value where one was replaced."""
        upstream = self._upstream
        keys = files_of(upstream.client_key, environ=self._environ)
        return fingerprints(filter(None, (upstream.ca_file, upstream.client_cert_file, *keys)))

    def _make(self) -> Contexts:
        if (self._upstream.url or "").startswith("http:"):
            # Never used; the system's certificates would take up memory for nothing.
            return Contexts(
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), self._roots() if self._proxy_tls else None
            )
        upstream = self._upstream
        context = self._roots()
        if upstream.client_cert_file is not None and upstream.client_key is not None:
            self._show_certificate(context, upstream.client_cert_file, upstream.client_key)
        if upstream.pinned_keys:
            kind = type("_PinnedConnection", (_PinnedConnection,), {"pins": frozenset(upstream.pinned_keys)})
            context.sslobject_class = kind
        # Pins and client certificates are not for the proxy; whom it is trusted by is the same.
        return Contexts(context, self._roots() if self._proxy_tls else None)

    def _roots(self) -> ssl.SSLContext:
        context, file = ssl.create_default_context(), self._upstream.ca_file
        if file is not None:
            self._load("ca_file", file, lambda: context.load_verify_locations(file))
        return context

    def _show_certificate(self, context: ssl.SSLContext, certificate: str, secret: Secret) -> None:
        try:
            secret.read(self._environ)  # refuses one that others may read
        except SecretError as error:
            reason = f"the key of client_cert_file cannot be used: {error}"
            raise UpstreamError(upstream=self._upstream.name, reason=reason) from None
        key = secret.path(self._environ)
        # A key with a passphrase must not ask for it on a terminal.
        self._load(
            "client_cert_file",
            certificate,
            lambda: context.load_cert_chain(certificate, key, password=lambda: ""),
        )

    def _load(self, key: str, file: str, load: Callable[[], None]) -> None:
        try:
            load()
        except (ssl.SSLError, ValueError):
            holds = "no certificates" if key == "ca_file" else "no certificate that goes with its key"
            reason = f"{key} {file} holds {holds}"
        except OSError as error:
            reason = f"{key} {file} cannot be read: {error.strerror}"
        else:
            return
        raise UpstreamError(upstream=self._upstream.name, reason=reason)


class _PinnedConnection(ssl.SSLObject):
    """A connection whose handshake fails where the upstream's key is none of `pins`."""

    pins: frozenset[str] = frozenset()

    def do_handshake(self) -> None:
        super().do_handshake()
        pin = pin_of(self.getpeercert(binary_form=True) or b"")
        if pin not in self.pins:
            raise PinMismatch(f"the upstream's key is {pin}, which is not in pinned_keys")


def pin_of(certificate: bytes) -> str:
    """The pin of a certificate's public key, as curl's `--pinnedpubkey` has it.

    Args:
        certificate: in DER.
    """
    from cryptography import x509  # noqa: PLC0415 -- 10 MiB, for those who pin
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    key = x509.load_der_x509_certificate(certificate).public_key()
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PIN_PREFIX + base64.b64encode(hashlib.sha256(encoded).digest()).decode()


def tls_failure(error: ssl.SSLError, *, today: str, certified: bool = False) -> tuple[Failure, str]:
    """Say what is wrong with a connection that TLS refused.

    Args:
        error: of the handshake, or of the first read after it.
        today: the date by this machine's clock.
        certified: whether a client certificate is shown.

    Returns:
        The kind of failure, and more about it.
    """
    if isinstance(error, PinMismatch):
        return Failure.TLS_OTHER_KEY, str(error.args[0])
    if isinstance(error, ssl.SSLCertVerificationError):
        kind, told = _BY_VERIFICATION.get(error.verify_code, Failure.TLS), error.verify_message
        if kind in {Failure.TLS_EXPIRED, Failure.TLS_NOT_YET_VALID}:
            told = f"{told}; this machine's clock says {today}"
        return kind, told
    reason = error.reason or ""
    if reason in _MISSING and not certified:
        return Failure.TLS_NO_CLIENT_CERTIFICATE, f"{_MISSING[reason]} ({reason})"
    if reason in _REFUSALS:
        return Failure.TLS_CLIENT_CERTIFICATE, f"{_REFUSALS[reason]} ({reason})"
    return Failure.TLS, reason


def fingerprints(files: Iterable[str]) -> tuple[object, ...]:
    """What files look like from outside: another value once one was replaced, made or removed."""
    return tuple(_fingerprint(file) for file in files)


def _fingerprint(file: str) -> tuple[int, int, int] | None:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
