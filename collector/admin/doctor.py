"""The doctor's checks: what could keep events from arriving, and what to do about each."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from collector.admin import doctor_upstreams
from collector.admin.checks import Check, fail, ok, warn
from collector.config.units import format_size
from collector.core.timekeeping import EARLIEST_GOOD_MS, JUMP_MS, Kept, Trust
from collector.errors import WaystationError
from collector.host.clock import Clocks
from collector.host.machine import this_machine
from collector.spool import age, boots
from collector.spool.aside import Places, read_marker, set_aside_files
from collector.spool.copy import copied
from collector.spool.directory import DATABASE_FILE, LOCK_FILE, user_name
from collector.spool.overview import overview
from collector.spool.verify import chunk_count, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from collector.config.model import Config
    from collector.spool.boots import Stretch
    from collector.spool.views import LaneView

    Watch = Callable[[int | None], AbstractContextManager[Callable[[int], None]]]

SOUND_SQLITE = (3, 51, 3)
"""Before it SQLite could corrupt a log that two connections write or check in at once."""

_OPENED = (DATABASE_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm", LOCK_FILE)
"""What a start opens, in the state directory."""

LEAST_FREE_BYTES = 64 << 20
"""Below this a spool can hardly grow at all."""


@contextmanager
def _unwatched(_chunks: int | None) -> Generator[Callable[[int], None]]:
    yield lambda _done: None


def examine(
    config: Config,
    environ: Mapping[str, str],
    *,
    clocks: Clocks | None = None,
    sqlite_version: tuple[int, ...] = sqlite3.sqlite_version_info,
    watch: Watch = _unwatched,
) -> Iterator[Check]:
    """Run all checks, in an order from the machine outwards.

    Args:
        config: the configuration.
        environ: of the process.
        clocks: of this machine.
        sqlite_version: of the library in use.
        watch: given the number of chunks, what is told of those that were read while it is held.
    """
    directory = Path(config.state_dir)
    yield _sqlite(sqlite_version)
    yield _permissions(directory)
    known = _Known()
    if not _is_closed(directory):
        yield _space(directory, config.spool.max_bytes)
        if (directory / DATABASE_FILE).exists():
            check, known = _spool(directory, watch)
            yield check
        else:
            yield warn("spool", f"there is none in {directory}", "start the daemon once: waystation run")
        yield _set_aside(directory)
    clocks = clocks or Clocks()
    yield _clock(clocks, known)
    for product in config.product:
        yield doctor_upstreams.secret(
            f"secret of product {product.key}",
            lambda: product.secret.read(environ),  # noqa: B023 (called at once)
        )
    for upstream in config.upstream:
        if upstream.kind == "samsara" and upstream.signing != "none":
            yield doctor_upstreams.signature(upstream, environ, now=clocks.wall_ms())
        yield doctor_upstreams.reach(upstream, directory, environ)
        waiting = doctor_upstreams.lanes(upstream.name, known.lanes)
        if waiting is not None:
            yield waiting


def _sqlite(version: tuple[int, ...]) -> Check:
    text = "SQLite " + ".".join(map(str, version))
    if version >= SOUND_SQLITE:
        return ok("sqlite", text)
    return warn(
        "sqlite",
        f"{text} can damage a write-ahead log that two connections write at once; the daemon has one alone",
        "nothing, as long as no other program writes to spool.db; 3.51.3 and later do not have the defect",
    )


def _is_closed(directory: Path) -> bool:
    """Whether this user cannot even see what is in a directory; the permissions say so."""
    try:
        directory.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return not os.access(directory, os.R_OK | os.X_OK)


def _permissions(directory: Path) -> Check:
    name = "permissions"
    try:
        about = directory.stat()
    except FileNotFoundError:
        return warn(name, f"{directory} is not there yet", "start the daemon once: waystation run")
    except OSError as error:
        return fail(name, f"{directory}: {error.strerror}", "run the doctor as the daemon's user, or as root")
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return fail(name, f"others may write to {directory}", f"chmod 700 {directory}")
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return fail(
            name,
            f"{directory} cannot be written by this user",
            "run the doctor as the daemon's user, or as root",
        )
    if (wrong := _files(name, directory, owner=about.st_uid)) is not None:
        return wrong
    return ok(name, f"{directory} and its files belong to their owner alone")


def _files(name: str, directory: Path, *, owner: int) -> Check | None:
    """What is wrong with whose the spool's files are, and who may use them."""
    for file in (directory / opened for opened in _OPENED if (directory / opened).exists()):
        if (whose := file.stat().st_uid) != owner:
            # As after a start as root: the next one, as the daemon's own user, is refused.
            found = f"{file} belongs to user {user_name(whose)}, and its directory to {user_name(owner)}"
            return fail(name, found, f"stop the daemon, then chown -R {user_name(owner)} {directory}")
    for file in sorted(directory.glob(f"{DATABASE_FILE}*")):
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return fail(name, f"others may read or write {file}", f"chmod 600 {file}")
    return None


def _space(directory: Path, quota: int) -> Check:
    name = "space"
    place = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(place).free
    files = (directory / f"{DATABASE_FILE}{suffix}" for suffix in ("", "-wal"))
    used = sum(file.stat().st_size for file in files if file.exists())
    found = f"{free >> 20} MiB free, the spool takes {used >> 20} MiB of {format_size(quota)}"
    if free < LEAST_FREE_BYTES:
        return fail(name, found, f"make room on the file system of {place}")
    if free < quota - used:
        return warn(
            name, found, "the disk fills up before the quota does: lower spool.max_bytes, or make room"
        )
    return ok(name, found)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the spool says that other checks are made by.

    Attributes:
        lanes: all of them.
        kept: what was kept of the clocks.
        stretch: how the wall clock was believed last, since the same start of the machine.
    """

    lanes: Sequence[LaneView] = ()
    kept: Kept = field(default_factory=Kept)
    stretch: Stretch | None = None


def _spool(directory: Path, watch: Watch) -> tuple[Check, _Known]:
    """Prove the ledger against the chunks; also what else the spool says."""
    name = "spool"
    marker = read_marker(Places(directory / DATABASE_FILE))
    restart = "restart the daemon: it looks again, sets a damaged file aside and salvages what can be read"
    if marker is not None and not marker.doubted:
        return fail(name, f"it is damaged: {marker.reason}", restart), _Known()
    known = _Known()
    try:
        with copied(directory, beside_daemon=True) as connection:
            assert connection is not None  # noqa: S101 (it is there)
            with watch(chunk_count(connection)) as advance:
                proof = verify(connection, advance=advance)
            if not proof.problems:
                known = _what_is_known(connection)
    except WaystationError as error:
        return fail(name, str(error), restart), _Known()
    if proof.problems:
        found = f"{len(proof.problems)} things are not right, the first: {proof.problems[0]}"
        return fail(name, found, f"waystation spool verify shows all; {restart}"), _Known()
    found = (
        f"{proof.chunks:,} chunks with {proof.events:,} events are as they were written, and"
        f" {proof.ledger_rows:,} rows of the ledger add up to them"
    )
    return ok(name, found), known


def _set_aside(directory: Path) -> Check:
    files = [
        file
        for file in set_aside_files(directory / DATABASE_FILE)
        if not file.name.endswith(("-wal", "-shm"))
    ]
    if not files:
        return ok("damage", "no damaged file is set aside")
    names = ", ".join(file.name for file in files)
    return fail(
        "damage",
        f"set aside in {directory}: {names}",
        "waystation status tells what was saved; look at the disk, then move or delete these files",
    )


def _what_is_known(connection: sqlite3.Connection) -> _Known:
    return _Known(
        lanes=overview(connection).lanes,
        kept=age.load(connection),
        stretch=boots.last(connection, this_machine().boot),
    )


def _clock(clocks: Clocks, known: _Known) -> Check:
    name = "clock"
    advice = (
        "set the clock, or have it set by NTP; events keep, and are counted under an unknown day meanwhile"
    )
    clocks.take_up(known.kept, this_machine().boot)
    moment = clocks.moment()
    trust, stretch = moment.trust, known.stretch
    if stretch is not None and abs(moment.base - stretch.base) <= JUMP_MS:
        trust = max(trust, stretch.trust)
    if trust is Trust.UNKNOWN:
        early = moment.wall < EARLIEST_GOOD_MS
        found = "earlier than this release" if early else "earlier than what the spool has seen"
        return fail(name, f"it is {found}", advice)
    if trust is Trust.CONFIRMED:
        return ok(name, "confirmed by a time server or an upstream")
    return warn(
        name,
        "plausible, but nobody has confirmed it: the time that the machine is off does not count as age",
        "have it set by NTP; an upstream's Date confirms it too",
    )
