"""Certificates for loopback, made on the spot: self-signed ones, and an authority that signs others."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

if TYPE_CHECKING:
    from pathlib import Path

DAY = timedelta(days=1)

_SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """Signs certificates; its own is in `file`."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._key = Ed25519PrivateKey.generate()
        certificate = _sign(self._name, self._name, self._key.public_key(), self._key, ca=True)
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(certificate.public_bytes(Encoding.PEM))

    def issue(self, name: str = "localhost", *, days: tuple[int, int] = (-1, 1)) -> tuple[Path, Path]:
        """A certificate's file and its key's, valid from and to so many days from now."""
        key = Ed25519PrivateKey.generate()
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = _sign(subject, self._name, key.public_key(), self._key, days=days, name=name)
        return _write(self._directory, name, certificate, key)

    def server(
        self, name: str = "localhost", *, days: tuple[int, int] = (-1, 1), demands_certificate: bool = False
    ) -> ssl.SSLContext:
        """The context of a server of that name, which may demand a certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name, days=days))
        if demands_certificate:
            context.load_verify_locations(self.file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def make_certificate(directory: Path, name: str = "localhost") -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate's file, for clients to trust, and the context of a server that has it."""
    key = Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = _sign(subject, subject, key.public_key(), key, ca=True, name=name)
    public, private = _write(directory, "certificate", certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


def _sign(subject, issuer, public_key, key, *, days=(-1, 1), ca=False, name=None) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
    if ca:
        builder = builder.add_extension(_SIGNS, critical=True)
    if issuer != subject:
        issued = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        builder = builder.add_extension(issued, critical=False)
    if name is not None:
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, None)


def _write(directory: Path, stem: str, certificate: x509.Certificate, key) -> tuple[Path, Path]:
    public, private = directory / f"{stem}.pem", directory / f"{stem}.key"
    public.write_bytes(certificate.public_bytes(Encoding.PEM))
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return public, private
