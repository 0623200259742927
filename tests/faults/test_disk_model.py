"""A power cut at any moment, on a modelled disk: what was said to be kept is there."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random  # noqa: TID251 - seeded here alone
from typing import TYPE_CHECKING

import apsw
import pytest
from fakes.disk_model import Crashes, Disk
from fakes.recorded_sqlite import recording, state
from fakes.spool_life import MAIN, SECOND, THIRD, Life, phase_at
from fakes.spools import FATES, accept, chunk, positions, query, spool_in

from collector.spool import database, read
from collector.spool.database import Database
from collector.spool.spool import DATABASE_FILE
from collector.spool.store import unpack

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Iterator, Sequence

    from fakes.disk_model import Image
    from fakes.recorded_sqlite import Commit, Recording
    from fakes.spool_life import Accepted

POINTS = 1000
CHECKPOINT_BYTES = 256 * 1024
"""Small, so that a short life has many checkpoints, and pages to give back."""


@pytest.fixture
def seed() -> str:
    seed = os.environ.get("DISK_SEED") or secrets.token_hex(4)
    print(f"DISK_SEED={seed} gives the same again; SQLite {apsw.sqlite_lib_version()}")  # noqa: T201
    return seed


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory in memory, where the system has one: thousands of files come and go in it."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of our own in it
    directory = Path(tempfile.mkdtemp(prefix="waystation-", dir=memory if memory.is_dir() else None))
    yield directory
    shutil.rmtree(directory)


@contextmanager
def recorded(monkeypatch: pytest.MonkeyPatch, disk: Disk | None = None) -> Iterator[Recording]:
    """Have the spool run on a recorded disk."""
    with monkeypatch.context() as patch:
        patch.setattr(database, "WAL_CHECKPOINT_BYTES", CHECKPOINT_BYTES)
        patch.setattr(database, "KEPT_FREE_PAGES", 8)
        with recording(lambda connect: patch.setattr(database, "_connect", connect), disk) as found:
            yield found


@dataclass
class Past:
    """What came before a crash.

    Attributes:
        commits: all transactions of the life, with what each left.
        accepted: all requests that were answered with success.
        phases: what the life was about from which operation on.
    """

    disk: Disk
    commits: list[Commit]
    accepted: list[Accepted]
    phases: list[tuple[int, str]]

    def kept(self, done: int) -> int:
        """How many transactions were committed after so many operations of the disk."""
        return sum(commit.ended <= done for commit in self.commits)

    def begun(self, done: int) -> int:
        """How many may be found then: one more, where one was being committed."""
        return sum(commit.began < done for commit in self.commits)


async def a_life(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, seed: str, *, durability: str = "full"
) -> Past:
    with recorded(monkeypatch) as found:
        life = Life(scratch / "life", found, Random(seed), durability)
        await life.live()
    return Past(found.disk, found.commits, life.accepted, life.phases)


@dataclass(frozen=True)
class Crash:
    """What a crash left, once a start has seen to it.

    Attributes:
        found: the last transaction that is there, counted from 1; None where no state
            that ever was fits.
    """

    past: Past
    done: int
    found: int | None
    faults: tuple[str, ...]

    @property
    def lost(self) -> int:
        """How many transactions are gone that were committed."""
        return max(0, self.past.kept(self.done) - (self.found or 0))

    def __str__(self) -> str:
        kept, begun = self.past.kept(self.done), self.past.begun(self.done)
        return (
            f"after {self.done} of {self.past.disk.now} operations ({phase_at(self.past.phases, self.done)}):"
            f" {kept} committed, {begun} begun, {self.found} found; {'; '.join(self.faults)}"
        )


def start(image: Image, directory: Path, past: Past, done: int) -> Crash:
    """Open what a crash left, as every start does, and see what is there."""
    directory.mkdir()
    for name, content in image.items():
        (directory / name).write_bytes(content)
    opened = Database(directory / DATABASE_FILE)
    with closing(opened):
        connection = opened.connection
        checked = connection.execute("PRAGMA integrity_check").fetchall()
        faults = [text for (text,) in checked if text != "ok"]
        faults += [f"refers to nothing: {row}" for row in connection.execute("PRAGMA foreign_key_check")]
        there = state(connection)
        possible = range(max(past.begun(done), 1), 0, -1)
        found = next((n for n in possible if past.commits[n - 1].state == there), None)
        faults += ledger_faults(connection)
    return Crash(past, done, found, tuple(faults))


def ledger_faults(connection: sqlite3.Connection) -> list[str]:
    """Where the ledger does not balance, or says something else than the chunks."""
    fates = " + ".join(("pending", *FATES))
    unbalanced = connection.execute(f"SELECT * FROM ledger WHERE accepted <> {fates}").fetchall()  # noqa: S608
    faults = [f"unbalanced: {row}" for row in unbalanced]
    for lane in read.lanes(connection):
        (pending,) = connection.execute(
            "SELECT coalesce(sum(pending), 0) FROM ledger WHERE lane = ?", (lane.id,)
        ).fetchone()
        here = positions(connection, lane)
        if pending != len(here):
            faults.append(f"{lane.name}: {pending} pending, and {len(here)} in chunks")
    for stream, following in connection.execute("SELECT id, next_position FROM stream").fetchall():
        (received,) = connection.execute(
            "SELECT sum(events) FROM intake WHERE stream = ?", (stream,)
        ).fetchone()
        if received != following:
            faults.append(f"stream {stream}: {received} received, positions up to {following}")
    return faults


def acknowledged_and_lost(directory: Path, accepted: Sequence[Accepted]) -> list[str]:
    """Requests that are neither there as they were sent, nor passed by the lanes that need them."""
    faults = []
    with closing(database.open_reader(directory / DATABASE_FILE)) as connection:
        lanes = read.lanes(connection)
        away = connection.execute("SELECT lane, from_seq, to_seq FROM absence").fetchall()
        bodies = {
            (dialect, product, first): unpack(encoding, body)
            for dialect, product, first, encoding, body in connection.execute(
                "SELECT dialect, product, first_position, encoding, body"
                " FROM chunk JOIN stream ON stream.id = chunk.stream"
            )
        }
        known = dict.fromkeys((lane.dialect, lane.product) for lane in lanes)
    for request in accepted:
        if request.stream not in known:
            faults.append(f"{request.stream} is not known")
        needed = [
            lane.name
            for lane in lanes
            if (lane.dialect, lane.product) == request.stream
            and lane.cursor_position < request.first + request.events
            and not any(
                who == lane.id and begun <= request.seq and (over is None or request.seq < over)
                for who, begun, over in away
            )
        ]
        if needed and bodies.get((*request.stream, request.first)) != request.body:
            faults.append(f"request {request.seq} is lost to {needed}")
    return faults


async def life_goes_on(directory: Path) -> list[str]:
    """Start in earnest, accept, and read all of it: what is wrong."""
    faults = []
    async with spool_in(directory, MAIN, SECOND, THIRD) as spool:
        before = await query(spool, "SELECT next_position FROM stream WHERE dialect = 'samsara'")
        await accept(spool, chunk(2))
        ((after,),) = await query(spool, "SELECT next_position FROM stream WHERE dialect = 'samsara'")
        if after != (before[0][0] if before else 0) + 2:
            faults.append(f"positions go on from {before} to {after}")
        for lane in await spool.read(read.lanes):
            here = await spool.read(lambda connection, lane=lane: positions(connection, lane))
            if lane.dialect == "samsara" and here[-2:] != [after - 2, after - 1]:
                faults.append(f"{lane.name} ends in {here[-2:]}, not {after - 1}")
            if lane.end_seq is None and here and here != list(range(lane.cursor_position, here[-1] + 1)):
                faults.append(f"{lane.name} has gaps: {here}")
    return faults


def crashes(past: Past, chance: Random, points: int) -> Iterator[tuple[int, Image]]:
    """Crashes at so many moments; those at which all that was accepted was just acknowledged among them."""
    every = range(past.disk.now + 1)
    moments = {commit.ended for commit in past.commits} | {0}
    moments |= set(chance.sample(every, min(points - len(moments), len(every))))
    dying = Crashes(past.disk)
    for done in sorted(moments | set(chance.sample(every, max(0, min(points - len(moments), len(every)))))):
        yield done, dying.after(done, chance)


async def survivals(scratch: Path, past: Past, chance: Random, points: int) -> AsyncIterator[Crash]:
    """Each crash, with all that was found wrong after it."""
    for done, image in crashes(past, chance, points):
        directory = scratch / "crashed"
        crash = start(image, directory, past, done)
        yield crash, directory
        shutil.rmtree(directory)


async def test_life(scratch, monkeypatch, seed):
    import time
    past = await a_life(scratch, monkeypatch, seed)
    t = time.time()
    n=0
    T=Counter()
    for done, image in crashes(past, Random(seed), 300):
        t0=time.time()
        directory = scratch / "crashed"
        crash = start(image, directory, past, done)
        t1=time.time()
        assert crash.found and not crash.lost and not crash.faults, str(crash)
        assert not acknowledged_and_lost(directory, [a for a in past.accepted if a.at<=done])
        t2=time.time()
        assert not await life_goes_on(directory)
        t3=time.time()
        shutil.rmtree(directory)
        T["start"]+=t1-t0; T["ack"]+=t2-t1; T["on"]+=t3-t2
        n+=1
    print(n, time.time()-t, T)
