"""The doctor's checks: what could keep events from arriving, and what to do about each."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import ssl
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec

from collector.config.redact import redact_url
from collector.config.units import format_size
from collector.errors import SecretError, UpstreamError, WaystationError
from collector.forwarder.keys import UpstreamKey
from collector.forwarder.trust import tls_context
from collector.host.clock import Clocks
from collector.spool.aside import Places, read_marker, set_aside_files
from collector.spool.copy import copied
from collector.spool.directory import DATABASE_FILE
from collector.spool.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from collector.config.model import Config, Upstream

SOUND_SQLITE = (3, 51, 3)
"""Before it SQLite could corrupt a log that two connections write or check in at once."""

LEAST_FREE_BYTES = 64 << 20
"""Below this a spool can hardly grow at all."""

A_DAY_MS = 86_400_000


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found.

    Attributes:
        found: the state of things.
        advice: what to do; empty where there is nothing to be done.
    """

    name: str
    result: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f" -> {self.advice}" if self.advice else ""
        return f"{self.result:<4}  {self.name}: {self.found}{advice}"


def _ok(name: str, found: str) -> Check:
    return Check(name=name, result="ok", found=found)


def _warn(name: str, found: str, advice: str) -> Check:
    return Check(name=name, result="warn", found=found, advice=advice)


def _fail(name: str, found: str, advice: str) -> Check:
    return Check(name=name, result="fail", found=found, advice=advice)


def examine(
    config: Config,
    environ: Mapping[str, str],
    *,
    now_ms: Callable[[], int] = lambda: Clocks().wall_ms(),
    sqlite_version: tuple[int, ...] = sqlite3.sqlite_version_info,
) -> Iterator[Check]:
    """Run all checks, in an order from the machine outwards.

    Args:
        config: the configuration.
        environ: of the process.
        now_ms: the wall clock.
        sqlite_version: of the library in use.
    """
    directory = Path(config.state_dir)
    yield _sqlite(sqlite_version)
    yield _permissions(directory)
    yield _space(directory, config.spool.max_bytes)
    newest: int | None = None
    if (directory / DATABASE_FILE).exists():
        check, newest = _spool(directory)
        yield check
    else:
        yield _warn("spool", f"there is none in {directory}", "start the daemon once: waystation run")
    yield _set_aside(directory)
    yield _clock(now_ms(), newest)
    for product in config.product:
        yield _secret(f"secret of product {product.key}", lambda: product.secret.read(environ))  # noqa: B023
    for upstream in config.upstream:
        if upstream.kind == "samsara" and upstream.signing != "none":
            key = UpstreamKey(upstream, environ=environ)
            yield _secret(f"key of upstream {upstream.name}", key.read)
        yield _upstream(upstream, directory, environ)


def _sqlite(version: tuple[int, ...]) -> Check:
    text = "SQLite " + ".".join(map(str, version))
    if version >= SOUND_SQLITE:
        return _ok("sqlite", text)
    return _warn(
        "sqlite",
        f"{text} can damage a write-ahead log that two connections write at once; the daemon has one alone",
        "nothing, as long as no other program writes to spool.db; 3.51.3 and later do not have the defect",
    )


def _permissions(directory: Path) -> Check:
    name = "permissions"
    try:
        about = directory.stat()
    except FileNotFoundError:
        return _warn(name, f"{directory} is not there yet", "start the daemon once: waystation run")
    except OSError as error:
        return _fail(
            name, f"{directory}: {error.strerror}", "run the doctor as the daemon's user, or as root"
        )
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return _fail(name, f"others may write to {directory}", f"chmod 700 {directory}")
    for file in sorted(directory.glob(f"{DATABASE_FILE}*")):
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return _fail(name, f"others may read or write {file}", f"chmod 600 {file}")
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return _fail(
            name,
            f"{directory} cannot be written by this user",
            "run the doctor as the daemon's user, or as root",
        )
    return _ok(name, f"{directory} and its files belong to their owner alone")


def _space(directory: Path, quota: int) -> Check:
    name = "space"
    place = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(place).free
    files = (directory / f"{DATABASE_FILE}{suffix}" for suffix in ("", "-wal"))
    used = sum(file.stat().st_size for file in files if file.exists())
    found = f"{free >> 20} MiB free, the spool takes {used >> 20} MiB of {format_size(quota)}"
    if free < LEAST_FREE_BYTES:
        return _fail(name, found, f"make room on the file system of {place}")
    if free < quota - used:
        return _warn(
            name, found, "the disk fills up before the quota does: lower spool.max_bytes, or make room"
        )
    return _ok(name, found)


def _spool(directory: Path) -> tuple[Check, int | None]:
    """Prove the ledger against the chunks; also when the newest chunk was accepted."""
    name = "spool"
    marker = read_marker(Places(directory / DATABASE_FILE))
    restart = "restart the daemon: it looks again, sets a damaged file aside and salvages what can be read"
    if marker is not None:
        return _fail(name, f"it is damaged: {marker.reason}", restart), None
    newest = None
    try:
        with copied(directory, beside_daemon=True) as connection:
            assert connection is not None  # noqa: S101 (it is there)
            proof = verify(connection)
            if not proof.problems:
                (newest,) = connection.execute("SELECT max(received_at) FROM chunk").fetchone()
    except WaystationError as error:
        return _fail(name, str(error), restart), None
    if proof.problems:
        found = f"{len(proof.problems)} things are not right, the first: {proof.problems[0]}"
        return _fail(name, found, f"waystation spool verify shows all; {restart}"), None
    found = (
        f"{proof.chunks:,} chunks with {proof.events:,} events are as they were written, and"
        f" {proof.ledger_rows:,} rows of the ledger add up to them"
    )
    return _ok(name, found), newest


def _set_aside(directory: Path) -> Check:
    files = [
        file
        for file in set_aside_files(directory / DATABASE_FILE)
        if not file.name.endswith(("-wal", "-shm"))
    ]
    if not files:
        return _ok("damage", "no damaged file is set aside")
    names = ", ".join(file.name for file in files)
    return _fail(
        "damage",
        f"set aside in {directory}: {names}",
        "waystation status tells what was saved; look at the disk, then move or delete these files",
    )


def _clock(now: int, newest: int | None) -> Check:
    name = "clock"
    advice = (
        "set the clock, or have it set by NTP; events keep, and are counted under an unknown day meanwhile"
    )
    if not Clocks.plausible(now):
        return _fail(name, "it is earlier than this release", advice)
    if newest is not None and newest > now + A_DAY_MS:
        return _fail(name, "the newest event was accepted more than a day from now", advice)
    return _ok(name, "plausible")


def _secret(name: str, read: Callable[[], object]) -> Check:
    try:
        read()
    except SecretError as error:
        return _fail(name, f"found {error.found}", f"put in its place {error.expected}")
    except ValueError as error:
        return _fail(name, str(error), "put the right key in its place")
    return _ok(name, "can be loaded")


def _upstream(upstream: Upstream, directory: Path, environ: Mapping[str, str]) -> Check:
    name = f"upstream {upstream.name}"
    if upstream.kind == "file":
        place = Path(upstream.directory or directory / "events")
        nearest = next(path for path in (place, *place.parents) if path.exists())
        if os.access(nearest, os.W_OK | os.X_OK):
            return _ok(name, f"{place} can be written")
        return _fail(
            name, f"{place} cannot be written", f"give the daemon's user the right to write to {nearest}"
        )
    parts = urlsplit(upstream.url or "")
    where = redact_url(upstream.url or "")
    if any(environ.get(variable) for variable in _PROXIES[parts.scheme]):
        return _warn(
            name, f"{where} is reached by a proxy, which is not tried", "see the lane in waystation status"
        )
    try:
        _connect(
            upstream, parts.hostname or "", parts.port or _PORTS[parts.scheme], tls=parts.scheme == "https"
        )
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or str(error)
        return _fail(
            name, f"{where}: TLS: {reason}", "look at the certificate, ca_file, the clock, and for a portal"
        )
    except (OSError, UpstreamError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return _fail(
            name, f"{where} cannot be reached: {reason}", "look at the url, name resolution and the network"
        )
    return _ok(name, f"{where} can be reached")


_PORTS = {"http": 80, "https": 443}
_PROXIES = {
    "http": ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"),
    "https": ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
}


def _connect(upstream: Upstream, host: str, port: int, *, tls: bool) -> None:
    with socket.create_connection((host, port), timeout=upstream.timeouts.connect) as plain:
        if tls:
            context = tls_context(upstream=upstream.name, ca_file=upstream.ca_file)
            with context.wrap_socket(plain, server_hostname=host):
                return
