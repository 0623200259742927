"""What must hold between the values that say how an upstream is reached."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from collector.config.checks import check_one_of
from collector.config.findings import shown

if TYPE_CHECKING:
    from collector.config.checks import SecretCheck
    from collector.config.findings import Findings
    from collector.config.model import Upstream
    from collector.config.positions import KeyPath

LINK_KEYS = frozenset(
    {"ca_file", "pinned_keys", "client_cert_file", "client_key_file", "client_key_credential"}
    | {"proxy", "http2", "rate_limit", "timeouts"}
)

_NEEDS_TLS = ("ca_file", "pinned_keys", "client_cert_file")


def check_link(upstream: Upstream, path: KeyPath, findings: Findings, secrets: SecretCheck) -> None:
    """Note what is wrong with an upstream's TLS and proxy."""
    for key in ("ca_file", "client_cert_file"):
        _check_certificates(getattr(upstream, key), (*path, key), findings)
    _check_client_key(upstream, path, findings, secrets)
    if upstream.proxy is not None and upstream.proxy != "none" and not _is_proxy(upstream.proxy):
        findings.add(
            (*path, "proxy"),
            found=shown(upstream.proxy),
            expected='an http:// or https:// URL such as "http://proxy.example:3128", or "none"',
        )
    if upstream.url is not None and upstream.url.startswith("http:"):
        for key in _NEEDS_TLS:
            if getattr(upstream, key):
                findings.add((*path, key), found="a key for TLS with an http:// url", expected="https://")


def check_next(upstream: Upstream, path: KeyPath, findings: Findings) -> None:
    """Note what is wrong with the key that comes next; it need not be there yet."""
    here = (*path, "next")
    stems: tuple[Literal["key", "secret"], ...] = ("key", "secret")
    key, secret = (check_one_of(here, stem, findings) for stem in stems)
    if key is not None and secret is not None:
        findings.add((*here, secret), found=f"a shared secret beside {key}", expected="one of the two")
    named = next((name for name in (key, secret, "key_id") if name and findings.given((*here, name))), None)
    if named is not None and upstream.signing == "none":
        findings.add((*here, named), found='a key with signing = "none"', expected='"rfc9421"')
    elif named is not None and key is None and secret is None:
        findings.add(here, found="no key", expected="one of next.key_file, next.secret_file and their like")


def _check_certificates(file: str | None, path: KeyPath, findings: Findings) -> None:
    if file is None:
        return
    try:
        certificates = Path(file).read_bytes()
    except OSError as error:
        found = f"a file that cannot be read ({file}: {error.strerror})"
        findings.add(path, found=found, expected="certificates in PEM")
        return
    if b"-----BEGIN CERTIFICATE-----" not in certificates:
        findings.add(path, found="a file without any", expected="certificates in PEM")


def _check_client_key(upstream: Upstream, path: KeyPath, findings: Findings, secrets: SecretCheck) -> None:
    given = [key for key in ("client_key_file", "client_key_credential") if findings.given((*path, key))]
    for surplus in given[1:]:
        findings.add((*path, surplus), found="a second place for the same", expected=f"{given[0]} alone")
    if bool(given) != (upstream.client_cert_file is not None):
        here = (*path, given[0] if given else "client_cert_file")
        findings.add(here, found="one half", expected="a client_cert_file and its client_key_file")
    elif given and upstream.client_key is not None:
        secrets.read(upstream.client_key, (*path, given[0]))


def _is_proxy(url: str) -> bool:
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    bare = parts.path in {"", "/"} and not parts.query and not parts.fragment
    return usable and bare and parts.scheme in {"http", "https"}
