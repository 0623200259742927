"""What must hold between the values of an upstream."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from collector.config.checks import check_one_of
from collector.config.findings import shown
from collector.config.link_checks import LINK_KEYS, check_link, check_next

if TYPE_CHECKING:
    from collector.config.checks import SecretCheck
    from collector.config.findings import Findings
    from collector.config.model import Config, Upstream
    from collector.config.positions import KeyPath

_STATUSES = ("success", "retry", "block", "reject")
_SIGNED = frozenset(
    {"signing", "key_id", "key_file", "key_env", "key_credential"}
    | {"secret_file", "secret_env", "secret_credential", "next"}
)
_HTTP = LINK_KEYS | {"url", "allow_plaintext", "compress", *_STATUSES, "reject_limit", "failing_event"}
_ANY = frozenset({"name", "kind", "start", "max_events", "max_batch_bytes", "max_bytes", "linger", "backoff"})
_FILE = frozenset({"dialects", "directory", "max_file_bytes", "max_files", "late_after", "stamp_ids"})

KEYS = {
    "samsara": _ANY | _HTTP | _SIGNED | {"stamp_ids"},
    "traintracks": _ANY | _HTTP | {"late_after"},
    "file": _ANY | _FILE,
}
"""The keys that mean something to each kind of upstream."""


def check_upstreams(config: Config, findings: Findings, secrets: SecretCheck) -> None:
    """Note what is wrong with the upstreams."""
    if not config.upstream:
        findings.add(("upstream",), found="an empty array", expected="at least one upstream")
    names: dict[str, int] = {}
    directories: dict[str, int] = {}
    for index, upstream in enumerate(config.upstream):
        path: KeyPath = ("upstream", index)
        _check_unique(upstream.name, (*path, "name"), names, findings)
        if findings.sound((*path, "kind")):
            _check_keys(upstream, path, findings)
            if upstream.kind == "file":
                _check_unique(upstream.directory or "", (*path, "directory"), directories, findings)
                _check_dialects(upstream, path, findings)
            else:
                _check_url(upstream, path, findings)
                check_link(upstream, path, findings, secrets)
            if upstream.kind == "samsara":
                _check_signing(upstream, path, findings, secrets)
                check_next(upstream, path, findings)
            if upstream.kind == "traintracks" and not config.product:
                findings.add(
                    (*path, "kind"),
                    found='"traintracks" without any product to sign for',
                    expected="at least one [[product]]",
                )
        _check_statuses(upstream, path, findings)
        _check_backoff(upstream, path, findings)


def _check_unique(value: str, path: KeyPath, seen: dict[str, int], findings: Findings) -> None:
    if not findings.sound(path):
        return
    if value in seen:
        findings.add(path, found=shown(value), expected=f"one that upstream[{seen[value]}] does not have")
    seen.setdefault(value, int(path[1]))


def _check_keys(upstream: Upstream, path: KeyPath, findings: Findings) -> None:
    for key in upstream.__struct_fields__:
        if key not in KEYS[upstream.kind] and findings.given((*path, key)):
            takers = [kind for kind, keys in KEYS.items() if key in keys]
            findings.add(
                (*path, key),
                found=f'a key that kind "{upstream.kind}" does not have',
                expected="kind " + " or ".join(f'"{kind}"' for kind in takers),
            )


def _check_dialects(upstream: Upstream, path: KeyPath, findings: Findings) -> None:
    if not upstream.dialects:
        findings.add((*path, "dialects"), found="an empty array", expected='"samsara", "traintracks" or both')


def _check_url(upstream: Upstream, path: KeyPath, findings: Findings) -> None:
    here = (*path, "url")
    if upstream.url is None:
        findings.add(here, found="nothing", expected='a URL such as "https://ingest.example/v1/events"')
        return
    parts = _http_url(upstream.url)
    if parts is None:
        findings.add(
            here,
            found=shown(upstream.url),
            expected="an http:// or https:// URL with a host, without fragment",
        )
    elif parts.scheme == "http" and not upstream.allow_plaintext and not _is_loopback(parts.hostname or ""):
        findings.add(here, found=shown(upstream.url), expected="https://, or allow_plaintext = true")


def _http_url(url: str) -> SplitResult | None:
    if not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return None
    return parts if usable and parts.scheme in {"http", "https"} and "#" not in url else None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_signing(upstream: Upstream, path: KeyPath, findings: Findings, secrets: SecretCheck) -> None:
    if upstream.signing is None:
        findings.add((*path, "signing"), found="nothing", expected='"rfc9421", or "none" in that word')
        return
    key = check_one_of(path, "key", findings)
    secret = check_one_of(path, "secret", findings)
    if upstream.signing == "none":
        for name in (key, secret, "key_id" if findings.given((*path, "key_id")) else None):
            if name is not None:
                findings.add((*path, name), found='a key with signing = "none"', expected='"rfc9421"')
        return
    if upstream.key_id is None:
        findings.add((*path, "key_id"), found="nothing", expected="the id that the upstream knows the key by")
    if key is not None and secret is not None:
        findings.add((*path, secret), found=f"a shared secret beside {key}", expected="one of the two")
    elif secret is not None and upstream.secret is not None:
        secrets.read(upstream.secret, (*path, secret))
    elif key is not None:
        _check_key(upstream, (*path, key), findings, secrets)
    else:
        findings.add(
            (*path, "key_file"),
            found="no key",
            expected="one of key_file, key_env, key_credential (ed25519), "
            "or of secret_file, secret_env, secret_credential (hmac-sha256)",
        )


def _check_key(upstream: Upstream, path: KeyPath, findings: Findings, secrets: SecretCheck) -> None:
    pem = None if upstream.key is None else secrets.read(upstream.key, path)
    if pem is None:
        return
    from collector.core.signing import load_ed25519  # noqa: PLC0415 -- each command checks its configuration

    try:
        load_ed25519(pem, upstream.key_id or "unknown")
    except ValueError as error:
        findings.add(path, found=str(error), expected="an Ed25519 private key in PEM")


def _check_statuses(upstream: Upstream, path: KeyPath, findings: Findings) -> None:
    owner: dict[int, str] = {}
    for key in _STATUSES:
        for index, status in enumerate(getattr(upstream, key) or ()):
            if owner.setdefault(status, key) != key:
                findings.add((*path, key, index), found=str(status), expected=f"not in {owner[status]} too")


def _check_backoff(upstream: Upstream, path: KeyPath, findings: Findings) -> None:
    first, most = (*path, "backoff", "initial"), (*path, "backoff", "max")
    if findings.sound(first, most) and upstream.backoff.initial > upstream.backoff.max:
        findings.add(
            first if findings.given(first) else most,
            found="an initial delay above the longest",
            expected="initial at most max",
        )
