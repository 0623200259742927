from __future__ import annotations

import threading

import pytest
import trio
from fakes.spools import accept, bulk, chunk, ledger, spool_in

from collector.errors import SpoolUnavailable
from collector.spool import worker
from collector.spool.tickets import Ticket
from collector.spool.worker import Append, ThreadWriter, Work


async def test_a_commit_waits_for_company_as_long_as_it_is_told_to(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "GROUP_CHUNKS", 1)
    async with spool_in(tmp_path, threads=True, commit_interval=60.0) as spool:
        monkeypatch.setattr(worker, "GROUP_CHUNKS", 2)
        before = spool.counters.commits
        first = spool.submit(chunk(1))
        await spool.read(lambda _: None)
        assert not first.settled
        await accept(spool, chunk(1))
        await first.committed()
        assert spool.counters.commits - before == 1


async def test_what_waits_for_company_is_committed_at_closing(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "GROUP_CHUNKS", 1)
    async with spool_in(tmp_path, threads=True, commit_interval=60.0) as spool:
        monkeypatch.setattr(worker, "GROUP_CHUNKS", 9)
        ticket = spool.submit(chunk(3))
    await ticket.committed()
    async with spool_in(tmp_path) as spool:
        assert await ledger(spool) == {"accepted": 3, "pending": 3}


class Recorder:
    """A committer that keeps its groups' sizes, and waits before the first."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.closed = False
        self.busy = threading.Event()
        self.go_on = threading.Event()

    def commit(self, group):
        self.busy.set()
        assert self.go_on.wait(10)
        self.sizes.append(len(group))
        return lambda: [item.ticket.settle(None) for item in group]

    def close(self):
        self.closed = True
        raise OSError("nothing that a caller could wait for")


@pytest.mark.parametrize(
    ("chunks", "group_bytes", "sizes"),
    [(3, 10_000, [1, 3, 3, 1]), (100, 250, [1, 2, 2, 2, 1]), (100, 50, [1] * 8)],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_group_is_bounded(monkeypatch, chunks, group_bytes, sizes):
    monkeypatch.setattr(worker, "GROUP_CHUNKS", chunks)
    recorder = Recorder()
    token = trio.lowlevel.current_trio_token()
    writer = ThreadWriter(recorder, interval=0, token=token, group_bytes=group_bytes)
    tickets = [Ticket() for _ in range(8)]
    writer.put(Append(bulk(100), tickets[0]))
    await trio.to_thread.run_sync(recorder.busy.wait)
    for ticket in tickets[1:]:
        writer.put(Append(bulk(100), ticket))
    recorder.go_on.set()
    for ticket in tickets:
        await ticket.committed()
    assert recorder.sizes == sizes
    await writer.close()
    # Closing twice is closing once, and what comes after is refused.
    await writer.close()
    # What the thread ends with must not come up in another test.
    await trio.to_thread.run_sync(writer._thread.join)
    assert recorder.closed
    late = Ticket()
    writer.put(Work(print, late))
    with pytest.raises(SpoolUnavailable, match="closed"):
        await late.committed()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_what_is_fewer_than_the_last_groups_is_handed_over_when_the_loops_turn_ends():
    recorder = Recorder()
    recorder.go_on.set()
    writer = ThreadWriter(recorder, interval=0, token=trio.lowlevel.current_trio_token())
    for count in (20, 20, 1, 3):
        tickets = [Ticket() for _ in range(count)]
        for ticket in tickets:
            writer.put(Append(bulk(1), ticket))
        with trio.fail_after(30):
            for ticket in tickets:
                await ticket.committed()
    assert sum(recorder.sizes) == 44
    await writer.close()
    await trio.to_thread.run_sync(writer._thread.join)
