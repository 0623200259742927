from __future__ import annotations

import threading
from contextlib import asynccontextmanager

import pytest
import trio
from fakes.spools import accept, bulk, chunk, ledger, spool_in

from collector.errors import SpoolUnavailable
from collector.spool import worker
from collector.spool.holdups import BURST_SECONDS, SHARE, Holdups
from collector.spool.items import Append, Work
from collector.spool.tickets import Ticket
from collector.spool.worker import GroupWriter


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
    """A committer that keeps its groups' sizes and whether they were committed on the loop's thread."""

    def __init__(self, quick=True) -> None:
        self.quick = quick
        self.sizes: list[int] = []
        self.here: list[bool] = []
        self.closed = False
        self.busy = threading.Event()  # on the thread, which goes on when it may
        self.go_on = threading.Event()
        self._loop = threading.get_ident()

    def is_quick(self, group):
        return self.quick and all(isinstance(item, Append) for item in group)

    def commit(self, group):
        self.here.append(threading.get_ident() == self._loop)
        self.sizes.append(len(group))
        if not self.here[-1]:
            self.busy.set()
            assert self.go_on.wait(10)
        return lambda: [item.ticket.settle(None) for item in group]

    def close(self):
        self.closed = True


@asynccontextmanager
async def writer_of(recorder, **options):
    token = trio.lowlevel.current_trio_token()
    writer = GroupWriter(recorder, **{"interval": 0, "token": token, **options})
    with trio.fail_after(30):
        yield writer
        recorder.go_on.set()
        await writer.close()
    # What the thread ends with must not come up in another test.
    await trio.to_thread.run_sync(writer._thread.join)
    assert recorder.closed


def append(writer, count, size=1) -> list[Ticket]:
    tickets = [Ticket() for _ in range(count)]
    for ticket in tickets:
        writer.put(Append(bulk(size), ticket))
    return tickets


def work(writer) -> Ticket:
    ticket = Ticket()
    writer.put(Work(print, ticket))
    return ticket


async def settled(tickets) -> None:
    for ticket in tickets:
        await ticket.committed()


async def test_requests_of_one_turn_share_a_commit_on_the_loops_thread():
    recorder = Recorder()
    async with writer_of(recorder) as writer:
        for count in (20, 1, 3):
            await settled(append(writer, count))
    assert (recorder.sizes, recorder.here) == ([20, 1, 3], [True] * 3)


async def test_a_group_on_the_loops_thread_is_small_and_others_have_their_turns_in_between(monkeypatch):
    monkeypatch.setattr(worker, "HERE_CHUNKS", 4)
    recorder = Recorder()
    turns = []
    async with writer_of(recorder) as writer:
        tickets = append(writer, 9)
        while not tickets[-1].settled:
            turns.append(sum(recorder.sizes))
            await trio.lowlevel.checkpoint()
    assert recorder.sizes == [4, 4, 1]
    assert {4, 8} & set(turns)


async def test_bodies_that_are_too_large_together_do_not_share_a_commit_on_the_loops_thread(monkeypatch):
    monkeypatch.setattr(worker, "HERE_BYTES", 250)
    recorder = Recorder()
    async with writer_of(recorder) as writer:
        await settled(append(writer, 5, size=100))
    assert recorder.sizes == [2, 2, 1]


async def test_what_is_not_quick_is_committed_in_groups_of_the_threads_own_size(monkeypatch):
    monkeypatch.setattr(worker, "HERE_CHUNKS", 2)
    monkeypatch.setattr(worker, "GROUP_CHUNKS", 7)
    recorder = Recorder(quick=False)
    recorder.go_on.set()
    async with writer_of(recorder, group_bytes=500) as writer:
        tickets = append(writer, 9, size=100)
        await settled(tickets)
        await settled(append(writer, 7, size=1))
    assert (recorder.sizes, set(recorder.here)) == ([5, 4, 7], {False})


async def test_what_takes_longer_is_committed_on_the_thread_and_what_comes_meanwhile_follows_it():
    recorder = Recorder()
    async with writer_of(recorder) as writer:
        first = [*append(writer, 2), work(writer)]
        await trio.to_thread.run_sync(recorder.busy.wait)
        later = append(writer, 5)
        await trio.testing.wait_all_tasks_blocked()
        assert recorder.sizes == [3]
        assert not any(ticket.settled for ticket in [*first, *later])
        recorder.go_on.set()
        await settled([*first, *later])
    assert (recorder.sizes, recorder.here) == ([3, 5], [False, True])


async def test_a_work_does_not_overtake_the_requests_before_it(monkeypatch):
    monkeypatch.setattr(worker, "GROUP_CHUNKS", 3)
    recorder = Recorder()
    recorder.go_on.set()
    async with writer_of(recorder) as writer:
        requests = append(writer, 5)
        last = work(writer)
        await last.committed()
        assert all(ticket.settled for ticket in requests)
    assert recorder.sizes == [3, 3]


@pytest.mark.parametrize(
    ("chunks", "group_bytes", "sizes"),
    [(3, 10_000, [1, 3, 3, 1]), (100, 250, [1, 2, 2, 2, 1]), (100, 50, [1] * 8)],
)
async def test_a_group_on_the_thread_is_bounded(monkeypatch, chunks, group_bytes, sizes):
    monkeypatch.setattr(worker, "GROUP_CHUNKS", chunks)
    recorder = Recorder(quick=False)
    slow = Holdups(clock=lambda: 0.0)
    slow._owed = 2 * BURST_SECONDS
    async with writer_of(recorder, group_bytes=group_bytes, holdups=slow) as writer:
        tickets = append(writer, 1, size=100)
        await trio.to_thread.run_sync(recorder.busy.wait)
        tickets += append(writer, 7, size=100)
        recorder.go_on.set()
        await settled(tickets)
    assert (recorder.sizes, set(recorder.here)) == (sizes, {False})


async def test_while_the_disk_is_slow_the_loop_does_not_wait_for_it():
    now = [0.0]
    slow = [True]

    class SlowDisk(Recorder):
        def commit(self, group):
            now[0] += 10 * BURST_SECONDS if slow[0] else 0
            return super().commit(group)

    recorder = SlowDisk()
    recorder.go_on.set()
    async with writer_of(recorder, holdups=Holdups(clock=lambda: now[0], worked=lambda: 0.0)) as writer:
        await settled(append(writer, 1))
        slow[0] = False
        await settled(append(writer, 1))
        now[0] += 10 * BURST_SECONDS / SHARE
        await settled(append(writer, 1))
    assert recorder.here == [True, False, True]


async def test_a_work_ends_the_wait_of_the_requests_before_it():
    recorder = Recorder()
    recorder.go_on.set()
    async with writer_of(recorder, interval=1000.0) as writer:
        requests = append(writer, 2)
        await trio.testing.wait_all_tasks_blocked()
        assert recorder.sizes == []
        await settled([*requests, work(writer)])
        later = append(writer, 1)  # which waits for company anew, until the end
    await settled(later)
    assert recorder.sizes == [3, 1]


async def test_a_group_that_is_full_does_not_wait_for_more(monkeypatch):
    monkeypatch.setattr(worker, "GROUP_CHUNKS", 3)
    recorder = Recorder()
    recorder.go_on.set()
    async with writer_of(recorder, interval=1000.0) as writer:
        await settled(append(writer, 3))
        await settled(append(writer, 2) + append(writer, 1))
    assert recorder.sizes == [3, 3]


async def test_requests_that_came_during_a_commit_wait_for_company_too():
    recorder = Recorder()
    async with writer_of(recorder, interval=0.01) as writer:
        first = work(writer)
        await trio.to_thread.run_sync(recorder.busy.wait)
        later = append(writer, 2)
        recorder.go_on.set()
        await first.committed()
        assert not any(ticket.settled for ticket in later)
        await settled(later)
    assert (recorder.sizes, recorder.here) == ([1, 2], [False, True])


@pytest.mark.parametrize(("chunks", "most_bytes"), [(4, 10_000), (100, 250)])
async def test_what_waited_for_company_is_not_committed_in_parts(monkeypatch, chunks, most_bytes):
    monkeypatch.setattr(worker, "HERE_CHUNKS", chunks)
    monkeypatch.setattr(worker, "HERE_BYTES", most_bytes)
    recorder = Recorder()
    recorder.go_on.set()
    async with writer_of(recorder, interval=0.01) as writer:
        await settled(append(writer, 9, size=100))
        await settled(append(writer, 1, size=100))
    assert (recorder.sizes, recorder.here) == ([9, 1], [False, True])


async def test_requests_that_filled_a_group_during_a_commit_wait_no_longer(monkeypatch):
    monkeypatch.setattr(worker, "GROUP_CHUNKS", 3)
    recorder = Recorder()
    async with writer_of(recorder, interval=1000.0) as writer:
        work(writer)
        await trio.to_thread.run_sync(recorder.busy.wait)
        later = append(writer, 3)
        recorder.go_on.set()
        await settled(later)
    assert recorder.sizes == [1, 3]


async def test_a_closed_writer_has_committed_all_and_takes_nothing_more(monkeypatch):
    monkeypatch.setattr(worker, "GROUP_CHUNKS", 2)
    recorder = Recorder()
    recorder.go_on.set()
    async with writer_of(recorder) as writer:
        tickets = append(writer, 5)
        await writer.close()
        assert all(ticket.settled for ticket in tickets)
        late = work(writer)
        with pytest.raises(SpoolUnavailable, match="closed"):
            await late.committed()
    assert sum(recorder.sizes) == 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_whoever_waits_for_the_end_does_not_wait_for_ever_where_closing_fails():
    class Failing(Recorder):
        def close(self):
            super().close()
            raise OSError("nothing that a caller could wait for")

    async with writer_of(Failing()):
        pass


def test_the_loop_may_wait_for_the_disk_for_a_share_of_its_time():
    now, worked = [100.0], [7.0]
    holdups = Holdups(clock=lambda: now[0], worked=lambda: worked[0])

    def wait(seconds, work=0.0) -> None:
        with holdups.measured():
            now[0] += seconds + work
            worked[0] += work

    wait(0.0, work=50.0)
    assert holdups.allowed
    wait(3 * BURST_SECONDS)
    assert not holdups.allowed
    now[0] += BURST_SECONDS / SHARE / 2
    assert not holdups.allowed
    now[0] += BURST_SECONDS / SHARE
    assert holdups.allowed
