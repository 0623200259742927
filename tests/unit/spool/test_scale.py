"""What a start, a status, an append and a round of maintenance cost SQLite, whatever the backlog."""

from __future__ import annotations

import pytest
from fakes.backlog import pile_up
from fakes.letters import bury, deliver
from fakes.spools import PRODUCT, accept, chunk, spool_in, wanted

from collector.spool import database as database_module
from collector.spool.overview import overview
from collector.spool.verify import verify

STEP = 10
"""Instructions of SQLite's machine between two counts."""


class Steps:
    """Counts the steps of all connections that a spool opens."""

    def __init__(self, monkeypatch):
        self.count = 0
        connect = database_module._connect

        def counted(path):
            connection = connect(path)
            connection.set_progress_handler(self._step, STEP)
            return connection

        monkeypatch.setattr(database_module, "_connect", counted)

    def _step(self):
        self.count += 1

    def taken(self):
        taken, self.count = self.count, 0
        return taken


async def costs(directory, steps):
    """Steps of each part of a life."""
    steps.taken()
    found = {}
    async with spool_in(directory) as spool:
        found["start"] = steps.taken()
        view = await spool.read(overview)
        found["status"] = steps.taken()
        await accept(spool, chunk(3))
        found["append"] = steps.taken()
        await spool.maintain()
        found["maintain"] = steps.taken()
    return found, sum(lane.pending_events for lane in view.lanes)


@pytest.mark.parametrize(
    ("chunks", "events"), [(500, 20_000), (20_000, 3)], ids=["ten million events", "many small requests"]
)
async def test_the_backlog_costs_a_start_a_status_an_append_and_maintenance_nothing(
    tmp_path, monkeypatch, chunks, events
):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(3))
    steps = Steps(monkeypatch)
    small, few = await costs(tmp_path, steps)
    pile_up(tmp_path, chunks=chunks, events=events)
    large, many = await costs(tmp_path, steps)
    assert many - few >= chunks * events
    assert min(small.values()) > 0
    cost_alike(small, large)


def other():
    return chunk(1, dialect="traintracks", product=PRODUCT)


def cost_alike(few, many):
    for part, taken in few.items():
        assert many[part] <= taken * 1.1 + 10, part


async def settling_costs(directory, steps):
    """Steps of each part of a life, and of drawing an event and settling it, in a small lane and a large."""
    found, _ = await costs(directory, steps)
    async with spool_in(directory) as spool:
        for name in (f"main/traintracks/{PRODUCT}", "main/samsara"):
            await bury(spool, name=name)
            steps.taken()
            await bury(spool, 2, name=name)
            found[name] = steps.taken()
    return found


async def test_a_few_chunks_within_another_streams_backlog_cost_no_more_for_it(tmp_path, monkeypatch):
    steps = Steps(monkeypatch)
    found = []
    for size in (2, 4000):
        directory = tmp_path / str(size)
        directory.mkdir()
        for _ in range(4):
            async with spool_in(directory) as spool:
                await accept(spool, other(), chunk(3))
            pile_up(directory, chunks=size, events=3)
        found.append(await settling_costs(directory, steps))
        async with spool_in(directory) as spool:
            assert (await spool.read(verify)).problems == []
    cost_alike(*found)


async def test_streams_that_take_turns_cost_no_more_however_often_they_did(tmp_path, monkeypatch):
    """Neither what is before a lane, nor what it has left behind and another lane still needs."""
    steps = Steps(monkeypatch)
    found = []
    for turns in (5, 1500):
        directory = tmp_path / str(turns)
        directory.mkdir()
        async with spool_in(directory, wanted("main"), wanted("behind")) as spool:
            for _ in range(turns):
                await accept(spool, other(), chunk(3))
            await deliver(spool, name=f"main/traintracks/{PRODUCT}")
            for _ in range(turns):
                await accept(spool, other(), chunk(3))
        found.append(await settling_costs(directory, steps))
    cost_alike(*found)


async def test_the_counts_would_tell_of_a_look_at_every_request(tmp_path, monkeypatch):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(3))
    steps = Steps(monkeypatch)
    pile_up(tmp_path, chunks=5000, events=3)
    async with spool_in(tmp_path) as spool:
        start = steps.taken()
        assert (await spool.read(lambda c: c.execute("SELECT sum(day) FROM chunk").fetchone())) is not None
        assert steps.taken() > start + 5000 * 2 // STEP
        assert (await spool.read(verify)).problems == []
