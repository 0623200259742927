"""What a start, a status, an append and a round of maintenance cost SQLite, whatever the backlog."""

from __future__ import annotations

import pytest
from fakes.backlog import pile_up
from fakes.spools import accept, chunk, spool_in

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
    for part, taken in small.items():
        assert large[part] <= taken * 1.1 + 10, part


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
