"""The watchdog is fed by work that goes on, and by nothing else."""

from __future__ import annotations

import trio
from fakes.statuses import make_lane as lane

from collector.errors import SpoolUnavailable
from collector.host.supervision import STATUS_SECONDS, summary, supervise
from collector.spool.views import Overview

INTERVAL = 30.0


class Manager:
    """Hears what a `Notifier` would send."""

    watchdog_seconds: float | None = INTERVAL

    def __init__(self):
        self.fed = []
        self.lines = []

    def alive(self):
        self.fed.append(trio.current_time())

    def status(self, line):
        self.lines.append(line)


class Spool:
    """A spool whose threads may hang, or whose disk may refuse."""

    healthy = True
    lanes = ()

    def __init__(self):
        self.hangs = set()
        self.refuses = False

    async def write(self, work):
        if "writer" in self.hangs:
            await trio.sleep_forever()
        if self.refuses:
            raise SpoolUnavailable("no space left")

    async def read(self, work):
        if "reader" in self.hangs:
            await trio.sleep_forever()
        return Overview(lanes=list(self.lanes), ledger=[], received=[], salvages=[])


async def watched(spool, *, seconds, then=lambda: None):
    manager = Manager()
    seconds -= 1  # between two moments at which something happens
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise, manager, spool)
        await trio.sleep(seconds)
        then()
        fed = len(manager.fed)
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()
    return fed, len(manager.fed) - fed, manager


async def test_it_is_fed_three_times_an_interval_while_all_works(autojump_clock):
    before, after, _ = await watched(Spool(), seconds=10 * INTERVAL)
    assert before == after == 30


async def test_a_writing_thread_that_hangs_feeds_it_no_more(autojump_clock):
    spool = Spool()
    _, after, _ = await watched(spool, seconds=10 * INTERVAL, then=lambda: spool.hangs.add("writer"))
    assert after <= 1


async def test_a_reading_thread_that_hangs_feeds_it_no_more(autojump_clock):
    spool = Spool()
    _, after, _ = await watched(spool, seconds=10 * INTERVAL, then=lambda: spool.hangs.add("reader"))
    assert after <= 1


async def test_a_disk_that_refuses_is_no_hang(autojump_clock):
    spool = Spool()
    spool.refuses = True
    before, after, _ = await watched(spool, seconds=10 * INTERVAL)
    assert before == after == 30


async def test_the_backlog_is_told_every_ten_seconds(autojump_clock):
    _, _, manager = await watched(Spool(), seconds=5 * STATUS_SECONDS)
    assert manager.lines == ["nothing waits"] * 10


async def test_who_is_not_watched_tells_the_backlog_all_the_same(autojump_clock):
    manager = Manager()
    manager.watchdog_seconds = None
    with trio.move_on_after(1):
        await supervise(manager, Spool())
    assert manager.lines == ["nothing waits"]
    assert manager.fed == []


def test_the_status_names_the_backlog_and_what_keeps_it():
    lanes = [
        lane("a/samsara", state="blocked", reason="http 401", pending_events=1200, pending_bytes=3 * 1024**2),
        lane("b/samsara", state="healthy", pending_events=34, pending_bytes=0),
    ]
    assert summary(lanes, healthy=True) == "1,234 events (3MiB) waiting; a/samsara blocked: http 401"
    assert summary([], healthy=False) == "the last commit failed; nothing waits"


def test_the_status_names_three_lanes_and_counts_the_others():
    lanes = [lane(f"{name}/samsara", state="retrying", reason="down", pending_events=1) for name in "abcde"]
    told = summary(lanes, healthy=True)
    assert told.count("retrying") == 3
    assert told.endswith("and 2 more lanes")
