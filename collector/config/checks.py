"""What must hold between values, once each value by itself is one that its key takes."""

from __future__ import annotations

import grp
import re
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from collector.config.accounts import group_id, user_id
from collector.config.addresses import TcpAddress, UnixAddress, parse_bind
from collector.config.findings import shown
from collector.config.secret import first_named
from collector.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from collector.config.addresses import Address
    from collector.config.findings import Findings
    from collector.config.model import Config, Listener, Product
    from collector.config.positions import KeyPath
    from collector.config.secret import Secret

_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_SECRET_KEYS = ("file", "env", "credential")

MIN_TOKEN_BYTES = 16
"""An admin token that can be guessed is none."""


RESERVED_LABELS = frozenset(
    {"device_id", "dialect", "epoch", "fate", "instance", "job", "lane", "le", "level", "listener", "reason"}
    | {"result", "state", "status", "upstream", "user", "verdict", "version", "time", "event", "repeated"}
)
"""The names that metrics and lines of the log have already."""


class SecretCheck:
    """Looks whether secrets are there.

    Args:
        findings: takes what is wrong.
        environ: of the process.
        read: False where the command at hand may not be allowed to read them.
    """

    def __init__(self, findings: Findings, environ: Mapping[str, str], *, read: bool) -> None:
        self._findings = findings
        self._environ = environ
        self._read = read

    def read(self, secret: Secret, path: KeyPath) -> bytes | None:
        """Read the secret; None where it is not to be read, or something is wrong with it."""
        if not self._read or not self._findings.sound(path):
            return None
        try:
            return secret.read(self._environ)
        except SecretError as error:
            self._findings.add(path, found=error.found, expected=error.expected)
            return None

    def text(self, secret: Secret, path: KeyPath) -> None:
        """Note a secret that is not UTF-8 text."""
        value = self.read(secret, path)
        if value is not None and not _is_utf8(value):
            self._findings.add(path, found="bytes that are not UTF-8", expected="a secret that is text")


def check_listeners(config: Config, findings: Findings, secrets: SecretCheck) -> None:
    """Note what is wrong with the listeners, the admin listener's among them."""
    if not config.listener:
        findings.add(("listener",), found="an empty array", expected="at least one listener")
    taken: dict[Address, str] = {}
    for index, listener in enumerate(config.listener):
        _check_listener(listener, ("listener", index), findings, secrets)
        _check_bind(
            listener.bind, ("listener", index, "bind"), taken, findings, allow_remote=listener.allow_remote
        )
    for index, bind in enumerate(config.admin.bind):
        _check_bind(bind, ("admin", "bind", index), taken, findings, allow_remote=False)


def check_admin(config: Config, findings: Findings, secrets: SecretCheck) -> None:
    """Note what is wrong with the admin listener's token."""
    key = check_one_of(("admin",), "token", findings)
    if key is not None and config.admin.token is not None:
        value = secrets.read(config.admin.token, ("admin", key))
        if value is not None and len(value) < MIN_TOKEN_BYTES:
            findings.add(
                ("admin", key),
                found=f"a token of {len(value)} bytes",
                expected=f"at least {MIN_TOKEN_BYTES} bytes of chance (openssl rand -hex 32)",
            )


def check_labels(config: Config, findings: Findings) -> None:
    """Note labels whose names mean something else already."""
    for name in config.labels:
        if name in RESERVED_LABELS:
            findings.add(("labels", name), found=shown(name), expected="a name that is not in use already")


def _check_listener(listener: Listener, path: KeyPath, findings: Findings, secrets: SecretCheck) -> None:
    is_unix = listener.bind.startswith("unix:")
    for key in ("mode", "group", "allow_users", "allow_groups"):
        if not is_unix and findings.given((*path, key)) and findings.sound((*path, "bind")):
            findings.add((*path, key), found="a key for UNIX sockets", expected='a bind of "unix:/path"')
    if listener.group is not None and not _group_exists(listener.group):
        findings.add((*path, "group"), found=shown(listener.group), expected="a group of this system")
    _check_accounts(listener.allow_users, (*path, "allow_users"), findings, user_id, "user")
    _check_accounts(listener.allow_groups, (*path, "allow_groups"), findings, group_id, "group")
    token_key = check_one_of(path, "token", findings)
    if token_key is not None and listener.token is not None:
        secrets.text(listener.token, (*path, token_key))
    for index, origin in enumerate(listener.allowed_origins):
        if not _is_origin(origin):
            findings.add(
                (*path, "allowed_origins", index),
                found=shown(origin),
                expected='an origin such as "https://shop.example:8080" (no path, lower case), or "null"',
            )
    for index, host in enumerate(listener.allowed_hosts):
        if not _HOST_NAME.fullmatch(host):
            findings.add(
                (*path, "allowed_hosts", index), found=shown(host), expected="a host name without port"
            )


def _check_accounts(
    names: Sequence[str], path: KeyPath, findings: Findings, find: Callable[[str], int], kind: str
) -> None:
    for index, name in enumerate(names):
        try:
            find(name)
        except KeyError:
            expected = f"a {kind} of this system, by name or number"
            findings.add((*path, index), found=shown(name), expected=expected)


def _check_bind(
    bind: str, path: KeyPath, taken: dict[Address, str], findings: Findings, *, allow_remote: bool
) -> None:
    if not findings.sound(path):
        return
    try:
        address = parse_bind(bind)
    except ValueError as error:
        findings.add(path, found=shown(bind), expected=str(error))
        return
    if isinstance(address, TcpAddress) and not address.is_loopback and not allow_remote:
        way_out = "" if path[0] == "admin" else ", or allow_remote = true"
        findings.add(path, found=shown(bind), expected=f"a loopback address{way_out}")
    for single in _single_addresses(address):
        if single in taken and not (isinstance(single, TcpAddress) and single.port == 0):
            findings.add(path, found=shown(bind), expected=f"an address that {taken[single]} does not take")
        taken[single] = _owner(path)


def _owner(path: KeyPath) -> str:
    return "admin.bind" if path[0] == "admin" else f"listener[{path[1]}]"


def _single_addresses(address: Address) -> list[Address]:
    if isinstance(address, UnixAddress):
        return [address]
    return [TcpAddress((host,), address.port) for host in address.hosts]


def check_products(config: Config, findings: Findings, secrets: SecretCheck) -> None:
    """Note what is wrong with the products, and with who takes what."""
    seen: dict[str, int] = {}
    for index, product in enumerate(config.product):
        path: KeyPath = ("product", index)
        if product.key in seen and findings.sound((*path, "key")):
            findings.add(
                (*path, "key"),
                found=shown(product.key),
                expected=f"a key that product[{seen[product.key]}] does not have",
            )
        seen.setdefault(product.key, index)
        _check_product_secret(product, path, findings, secrets)
        _check_accounts(product.users, (*path, "users"), findings, user_id, "user")
    kinds_known = all(
        findings.sound(("upstream", index, key))
        for index in range(len(config.upstream))
        for key in ("kind", "dialects")
    )
    if config.product and kinds_known and not any("traintracks" in up.takes for up in config.upstream):
        findings.add(
            ("product",),
            found="products that no upstream takes",
            expected='an upstream of kind "traintracks", or of kind "file"',
        )


def _check_product_secret(product: Product, path: KeyPath, findings: Findings, secrets: SecretCheck) -> None:
    key = check_one_of(path, "secret", findings)
    secret = first_named(product.secret_file, product.secret_env, product.secret_credential)
    if key is None:
        findings.add(
            (*path, "secret_file"),
            found="no secret",
            expected="one of secret_file, secret_env, secret_credential",
        )
    elif secret is not None:
        secrets.text(secret, (*path, key))
    check_one_of(path, "next_secret", findings)


def check_one_of(
    path: KeyPath, stem: Literal["key", "secret", "next_secret", "token"], findings: Findings
) -> str | None:
    """Which of `STEM_file`, `STEM_env` and `STEM_credential` is given; a second is noted."""
    given = [f"{stem}_{end}" for end in _SECRET_KEYS if findings.given((*path, f"{stem}_{end}"))]
    for surplus in given[1:]:
        findings.add((*path, surplus), found="a second place for the same", expected=f"{given[0]} alone")
    return given[0] if given else None


def _is_origin(origin: str) -> bool:
    if origin == "null":
        return True
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    host = parts.netloc.removesuffix(f":{port}")
    return (
        bool(parts.scheme)
        and bool(_HOST_NAME.fullmatch(host))
        and origin == f"{parts.scheme}://{parts.netloc}".lower()
    )


def _group_exists(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except (KeyError, ValueError):
        return False
    return True


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
