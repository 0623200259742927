"""A power cut at any moment, on a modelled disk: what was said to be kept is there."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest
from fakes.disk_model import Crashes, Disk
from fakes.load import drawn_seed, seeded
from fakes.recorded_sqlite import recording, state
from fakes.spool_faults import acknowledged_and_lost, file_faults, goes_on_faults, ledger_faults
from fakes.spool_life import MAIN, SECOND, THIRD, Life, phase_at

from collector.errors import SpoolError
from collector.spool import database, schema
from collector.spool.database import Database
from collector.spool.directory import DATABASE_FILE
from collector.spool.read import DamagedChunk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random  # noqa: TID251 - seeded

    from fakes.disk_model import Image
    from fakes.recorded_sqlite import Commit, Recording
    from fakes.spool_life import Accepted

CRASHES = 1000
CHECKPOINT_BYTES = 128 * 1024
"""Small, so that a short life has many checkpoints, and pages to give back."""


@pytest.fixture
def seed() -> str:
    print(f"the model ran SQLite {apsw.sqlite_lib_version()}")  # noqa: T201
    return drawn_seed("DISK_SEED")


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


@dataclass(frozen=True)
class Past:
    """What came before a crash.

    Attributes:
        commits: all transactions, with what each left.
        accepted: all requests that were answered with success.
        phases: what the life was about from which operation of the disk on.
    """

    disk: Disk
    commits: Sequence[Commit]
    accepted: Sequence[Accepted]
    phases: Sequence[tuple[int, str]]

    def kept(self, done: int) -> int:
        """How many transactions were committed after so many operations."""
        return sum(commit.ended <= done for commit in self.commits)

    def begun(self, done: int) -> int:
        """How many may be found then: one more, where one was being committed."""
        return sum(commit.began < done for commit in self.commits)


async def a_life(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, seed: str, *, durability: str = "full"
) -> Past:
    with recorded(monkeypatch) as found:
        life = Life(scratch / "life", found, seeded(seed), durability)
        await life.live()
    return Past(found.disk, found.commits, life.accepted, life.phases)


def crashes(past: Past, chance: Random, *, a_phase: int) -> Iterator[tuple[int, Image]]:
    """Crashes at so many moments of each phase, and whenever a transaction was just committed."""
    dying = Crashes(past.disk)
    acknowledged = {commit.ended for commit in past.commits}
    phases = [phase_at(past.phases, done) for done in range(past.disk.now + 1)]
    moments = Counter(phases)
    for done, phase in enumerate(phases):
        if done in acknowledged or chance.random() * moments[phase] < a_phase:
            yield done, dying.after(done, chance)


@dataclass(frozen=True)
class Crash:
    """What a crash left, once a start has seen to it.

    Attributes:
        done: operations of the disk before it.
        found: the last transaction that is there, counted from 1; 0 where what is
            there is of no moment that ever was.
        lost: accepted requests that are not there.
        faults: what is wrong whether or not something is lost.
    """

    past: Past
    done: int
    found: int
    lost: Sequence[str]
    faults: Sequence[str]

    @property
    def phase(self) -> str:
        return phase_at(self.past.phases, self.done)

    @property
    def good(self) -> bool:
        kept = self.past.kept(self.done)
        return self.found >= max(kept, 1) and not self.lost and not self.faults

    def __repr__(self) -> str:
        kept, begun = self.past.kept(self.done), self.past.begun(self.done)
        return (
            f"<after {self.done} of {self.past.disk.now} operations ({self.phase}): {kept} transactions"
            f" committed, {begun} begun, {self.found} found {[*self.lost, *self.faults]}>"
        )


def put(image: Image, directory: Path) -> Path:
    """Lay a disk's files out; returns the database among them."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for name, content in image.items():
        (directory / name).write_bytes(content)
    return directory / DATABASE_FILE


def start(path: Path, past: Past, done: int) -> Crash:
    """Open what a crash left, as every start does, and see what is there."""
    try:
        with closing(Database(path)) as opened:
            connection = opened.connection
            there = state(connection)
            # Before the first transaction, starting makes the tables, which is what that did.
            candidates = range(max(past.begun(done), 1), 0, -1)
            found = next((number for number in candidates if past.commits[number - 1].state == there), 0)
            accepted = [request for request in past.accepted if request.at <= done]
            faults = file_faults(connection) + ledger_faults(connection)
            return Crash(past, done, found, acknowledged_and_lost(connection, accepted), faults)
    except (sqlite3.Error, SpoolError, DamagedChunk) as error:
        return Crash(past, done, 0, [], [repr(error)])


async def power_fails(past: Past, scratch: Path, chance: Random, *, a_phase: int) -> Counter[str]:
    """See that nothing is lost, whenever the power fails; returns how often it failed in which phase."""
    phases: Counter[str] = Counter()
    for done, image in crashes(past, chance, a_phase=a_phase):
        path = put(image, scratch / "crashed")
        crash = start(path, past, done)
        assert crash.good
        if chance.random() < 0.2:
            assert await goes_on_faults(path.parent, MAIN, SECOND, THIRD) == [], crash
        phases[crash.phase] += 1
    print(f"{phases.total()} crashes: {dict(phases)}")  # noqa: T201
    return phases


async def test_whenever_the_power_fails_nothing_that_was_acknowledged_is_lost(scratch, monkeypatch, seed):
    past = await a_life(scratch, monkeypatch, seed)
    phases = await power_fails(past, scratch, seeded(seed), a_phase=150)
    assert phases.total() >= CRASHES
    assert phases.keys() == {phase for _, phase in past.phases}


async def test_when_the_power_fails_again_during_the_start_nothing_is_lost_either(scratch, monkeypatch, seed):
    chance = seeded(seed)
    past = await a_life(scratch, monkeypatch, seed)
    for done, image in crashes(past, chance, a_phase=30):
        if chance.random() < 0.7:
            continue
        path = put(image, scratch / "crashed")
        with recorded(monkeypatch, Disk(image)) as second:
            Database(path).close()
        again = Crashes(second.disk).after(chance.randint(0, second.disk.now), chance)
        crash = start(put(again, scratch / "crashed again"), past, done)
        assert crash.good


async def test_when_the_power_fails_during_an_upgrade_it_is_done_whole_by_the_next_start(
    scratch, monkeypatch, seed
):
    def another(db):
        db.conn.execute("ALTER TABLE lane ADD COLUMN another INTEGER NOT NULL DEFAULT 7")
        db.conn.execute("CREATE TABLE another AS SELECT seq, hex(body) AS body FROM chunk")

    past = await a_life(scratch, monkeypatch, seed)
    chance = seeded(seed)
    before = [image for _, image in crashes(past, chance, a_phase=1) if chance.random() < 0.05]
    monkeypatch.setattr(schema, "CHANGES", {**schema.CHANGES, "0002_another": another})
    crashed = 0
    for image in before:
        path = put(image, scratch / "before")
        with recorded(monkeypatch, Disk(image)) as upgrade:
            Database(path).close()
            expected = upgrade.commits[-1].state
        for done in range(0, upgrade.disk.now + 1, max(1, upgrade.disk.now // 25)):
            again = put(Crashes(upgrade.disk).after(done, chance), scratch / "crashed")
            with closing(Database(again)) as opened:
                assert state(opened.connection) == expected, (done, upgrade.disk.now)
                assert file_faults(opened.connection) == []
            crashed += 1
    print(f"{crashed} crashes of {len(before)} upgrades")  # noqa: T201
    assert crashed > len(before)


async def test_with_durability_normal_the_last_commits_are_lost_and_nothing_else_is_harmed(
    scratch, monkeypatch, seed
):
    past = await a_life(scratch, monkeypatch, seed, durability="normal")
    chance = seeded(seed)
    lossy = 0
    for done, image in crashes(past, chance, a_phase=5):
        if chance.random() < 0.5:
            crash = start(put(image, scratch / "crashed"), past, done)
            assert crash.found > 0
            assert not crash.faults, crash
            lossy += crash.found < past.kept(done) and bool(crash.lost)
    assert lossy > 20, "this model cannot tell a disk that was synced from one that was not"


@pytest.mark.soak
@pytest.mark.parametrize("turn", range(5))
async def test_the_power_fails_after_each_single_operation(scratch, monkeypatch, seed, turn):
    past = await a_life(scratch, monkeypatch, f"{seed} {turn}")
    await power_fails(past, scratch, seeded(seed), a_phase=past.disk.now)
