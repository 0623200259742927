"""Spools to be damaged, and what must hold of one when it has been."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing, suppress
from random import Random  # noqa: TID251 (seeded)

from fakes.spools import PRODUCT, accept, batch_of, chunk, lane_of, ledger, next_run, spool_in, wanted

from collector.errors import SpoolDamaged
from collector.spool import read, settle
from collector.spool.directory import DATABASE_FILE
from collector.spool.verify import verify

LANES = ("a/samsara", "b/samsara", f"a/traintracks/{PRODUCT}")
FILES = (DATABASE_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm")
PAGE = 8192


def open_in(directory):
    only_samsara = wanted("b", takes=lambda dialect, _: dialect == "samsara")
    known = {("samsara", ""), ("traintracks", PRODUCT)}
    both = wanted("a", takes=lambda *stream: stream in known)
    return spool_in(directory, both, only_samsara)


def body(dice):
    size = dice.choice([0, 400, 10_000])
    event = {"timestamp": 1, "sourceId": "till", "eventName": "sold"}
    return json.dumps([{**event, "pad": dice.randbytes(size).hex()} for _ in range(4)]).encode()


async def fill(directory, target):
    """A spool as it was when its process died, and as it is when it was closed."""
    dice = Random(7)  # noqa: S311
    async with open_in(directory) as spool:
        for _ in range(30):
            await accept(spool, chunk(3), chunk(2, dialect="traintracks", product=PRODUCT))
            await accept(spool, chunk(4, body=body(dice)))
        for turn in range(4):
            lane = await lane_of(spool, "a/samsara")
            run = await spool.read(lambda connection, lane=lane: next_run(connection, lane, max_events=10))
            batch = await spool.read(lambda connection, lane=lane, run=run: batch_of(connection, lane, run))
            await spool.write(lambda connection, batch=batch: settle.seal(connection, batch, now=1))
            if turn < 3:
                await spool.write(
                    lambda connection, batch=batch, run=run: settle.delivered(
                        connection, batch, run, settled=None, learned_limit=None, now=1
                    )
                )
        (target / "died").mkdir()
        for name in FILES:
            shutil.copyfile(directory / name, target / "died" / name)
    (target / "closed").mkdir()
    shutil.copyfile(directory / DATABASE_FILE, target / "closed" / DATABASE_FILE)


ACCEPTED = {"a/samsara": 210, "b/samsara": 210, LANES[2]: 60}


def hurt(directory, filled, state, name, change):
    """Copy a spool and change the bytes of one of its files."""
    shutil.copytree(filled / state, directory, dirs_exist_ok=True)
    content = bytearray((directory / name).read_bytes())
    content = change(content) or content
    (directory / name).write_bytes(content)
    return directory


def zero_page(number):
    def change(content):
        content[(number - 1) * PAGE : number * PAGE] = bytes(PAGE)

    return change


def root(directory, table):
    with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
        return connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]


def raise_damage(spool, problem):
    spool.damaged(SpoolDamaged(problem))
    raise SpoolDamaged(problem)


async def start(directory):
    """Start, as often as damage is met late; the spool takes events, and proves itself."""
    with suppress(SpoolDamaged):
        return await start_once(directory)
    return await start_once(directory)


async def start_once(directory):
    async with open_in(directory) as spool:
        salvaged = spool.salvaged
        books = {lane.name: await ledger(spool, lane.name) for lane in await spool.read(read.lanes)}
        proof = await spool.read(verify)
        await accept(spool, chunk(3), chunk(2, dialect="traintracks", product=PRODUCT))
        if salvaged is None:
            # A chunk that is not what was written is found when it is read, and dead-lettered then.
            proof.problems = [problem for problem in proof.problems if not problem.startswith("chunk")]
            if proof.problems:
                # Between what a start looks at: the lane that comes to it says so.
                raise_damage(spool, proof.problems[0])
        else:
            assert proof.problems == []
            after = await spool.read(verify)
            assert after.problems == []
    return salvaged, books


def assert_adds_up(books):
    for book in books.values():
        assert book.get("accepted", 0) == sum(
            book.get(fate, 0) for fate in ("pending", "delivered", "dead", "expired", "evicted", "damaged")
        )
