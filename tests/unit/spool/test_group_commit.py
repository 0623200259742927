from __future__ import annotations

import threading

import pytest
import trio
from fakes.disks import APPEND, let_fail
from fakes.spools import accept, chunk, database_of, ledger, query, spool_in

from collector.errors import SpoolUnavailable
from collector.spool.items import Work
from collector.spool.tickets import Ticket
from collector.spool.worker import HERE_CHUNKS

pytestmark = pytest.mark.parametrize("threads", [False, True], ids=["inline", "thread"])


class Gate:
    """Holds the writer's thread in an item's work, so that what comes behind it makes one group."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, _connection: object) -> None:
        self.entered.set()
        assert self.open.wait(10)


def put(spool, work) -> Ticket:
    ticket = Ticket()
    spool._writer.put(Work(work, ticket))
    return ticket


async def hold(spool) -> Gate:
    gate = Gate()
    if spool.options.threads:
        put(spool, gate)
        await trio.to_thread.run_sync(gate.entered.wait)
    return gate


async def test_what_is_answered_is_there(tmp_path, threads):
    async with spool_in(tmp_path, threads=threads) as spool:
        await accept(spool, chunk(2), chunk(3))
        assert await query(spool, "SELECT seq, first_position, events FROM chunk") == [(1, 0, 2), (2, 2, 3)]
        assert await ledger(spool) == {"accepted": 5, "pending": 5}
        assert await query(spool, "SELECT sum(requests), sum(events) FROM intake") == [(2, 5)]


async def test_what_waits_together_is_committed_together(tmp_path, threads):
    async with spool_in(tmp_path, threads=threads) as spool:
        before = spool.counters.commits
        gate = await hold(spool)
        tickets = [spool.submit(chunk(1)) for _ in range(50)]
        gate.open.set()
        for ticket in tickets:
            await ticket.committed()
        await spool.write(lambda _: None)
        # Inline there is no waiting, so each is a commit of its own.
        assert spool.counters.commits - before == (3 if threads else 51)
        assert await ledger(spool) == {"accepted": 50, "pending": 50}


async def test_no_ticket_of_a_group_is_settled_before_its_commit(tmp_path, threads):
    async with spool_in(tmp_path, threads=threads) as spool:
        seen = []
        gate = await hold(spool)
        tickets = [spool.submit(chunk(1))]
        tickets.append(
            put(
                spool,
                lambda connection: seen.append((tickets[-1].settled, connection.in_transaction)),
            )
        )
        gate.open.set()
        await tickets[-1].committed()
        # Inline the chunk is a group of its own, and its ticket is settled already.
        assert seen == [(not threads, True)]
        assert not database_of(spool).connection.in_transaction


async def test_work_that_fails_undoes_itself_alone(tmp_path, threads):
    async with spool_in(tmp_path, threads=threads) as spool:
        await accept(spool, chunk(1))

        def half(connection):
            connection.execute("UPDATE lane SET reason = 'half'")
            return 1 // 0

        gate = await hold(spool)
        before = put(spool, lambda connection: connection.execute("UPDATE lane SET failures = 7"))
        failing = put(spool, half)
        after = spool.submit(chunk(1))
        gate.open.set()
        await before.committed()
        await after.committed()
        with pytest.raises(ZeroDivisionError):
            await failing.committed()
        assert await query(spool, "SELECT failures, reason FROM lane") == [(7, "")]
        assert await ledger(spool) == {"accepted": 2, "pending": 2}


async def test_work_returns_what_it_found(tmp_path, threads):
    async with spool_in(tmp_path, threads=threads) as spool:
        assert await spool.write(lambda connection: connection.execute("SELECT 41 + 1").fetchone()) == (42,)


async def test_a_broken_promise_of_the_ledger_undoes_itself_alone(tmp_path, threads):
    async with spool_in(tmp_path, threads=threads) as spool:
        await accept(spool, chunk(2))
        with pytest.raises(Exception, match="CHECK constraint failed: accepted"):
            await spool.write(
                lambda connection: connection.execute("UPDATE counts SET pending = 1 WHERE lane > 0")
            )
        await accept(spool, chunk(1))
        assert await ledger(spool) == {"accepted": 3, "pending": 3}
        assert spool.healthy


async def test_closing_commits_what_is_queued_and_takes_nothing_after(tmp_path, threads):
    async with spool_in(tmp_path, threads=threads) as spool:
        ticket = spool.submit(chunk(4))
    await ticket.committed()
    with pytest.raises(SpoolUnavailable, match="closed"):
        await spool.write(lambda _: None)
    with pytest.raises(SpoolUnavailable, match="closed"):
        await spool.submit(chunk(1)).committed()
    async with spool_in(tmp_path, threads=threads) as spool:
        assert await ledger(spool) == {"accepted": 4, "pending": 4}


async def test_a_cancelled_wait_does_not_take_the_work_back(tmp_path, threads):
    async with spool_in(tmp_path, threads=threads) as spool:
        await accept(spool, chunk(1))
        with trio.CancelScope() as scope:
            scope.cancel()
            await spool.write(lambda connection: connection.execute("UPDATE lane SET failures = 3") and None)
        await spool.write(lambda _: None)
        assert await query(spool, "SELECT failures FROM lane") == [(3,)]


async def test_a_reader_sees_one_moment(tmp_path, threads):
    async with spool_in(tmp_path, threads=threads) as spool:
        await accept(spool, chunk(1))
        begun, go_on = threading.Event(), threading.Event()

        def look_twice(connection):
            first = connection.execute("SELECT count(*) FROM chunk").fetchone()
            begun.set()
            go_on.wait(10)
            return first, connection.execute("SELECT sum(pending) FROM ledger").fetchone()

        if not threads:
            go_on.set()
            assert await spool.read(look_twice) == ((1,), (1,))
            return
        seen = []

        async def read():
            seen.append(await spool.read(look_twice))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.to_thread.run_sync(begun.wait)
            await accept(spool, chunk(1))
            go_on.set()
        assert seen == [((1,), (1,))]
        assert await ledger(spool) == {"accepted": 2, "pending": 2}


async def test_the_reader_cannot_write(tmp_path, threads):
    async with spool_in(tmp_path, threads=threads) as spool:
        await accept(spool, chunk(1))
        with pytest.raises(Exception, match="readonly"):
            await query(spool, "DELETE FROM chunk")


async def test_growth_is_told_by_stream(tmp_path, threads):
    async with spool_in(tmp_path, threads=threads) as spool:
        told = []
        spool.on_growth = told.append
        await accept(spool, chunk(1))
        await accept(spool, chunk(1, dialect="traintracks", product="p"))
        await spool.write(lambda _: None)
        assert told == [{("samsara", "")}, {("traintracks", "p")}]


async def test_a_defect_in_a_commit_refuses_the_group_and_does_not_end_the_writer(tmp_path, threads):
    async with spool_in(tmp_path, threads=threads) as spool:
        nameless = chunk(1)._replace(received_at=None)
        with pytest.raises(SpoolUnavailable, match="unexpected TypeError"):
            await accept(spool, nameless)
        await accept(spool, chunk(2))
        assert await ledger(spool) == {"accepted": 2, "pending": 2}
        assert spool.healthy


async def test_work_of_a_lane_does_not_wait_for_company(tmp_path, threads):
    # An hour's wait would outlast this test.
    async with spool_in(tmp_path, threads=threads, commit_interval=3600.0) as spool:
        await spool.write(lambda _: None)
        ticket = spool.submit(chunk(1))
        await spool.write(lambda _: None)  # and ends the wait of the requests before it
        await ticket.committed()


@pytest.mark.parametrize("count", [1, 2, 3, 64, 127, 300])
async def test_requests_of_a_commit_take_few_statements(tmp_path, threads, count):
    async with spool_in(tmp_path, threads=threads) as spool:
        await accept(spool, chunk(1))
        disk = let_fail(database_of(spool))
        gate = await hold(spool)
        disk.statements.clear()
        tickets = [spool.submit(chunk(2)) for _ in range(count)]
        gate.open.set()
        for ticket in tickets:
            await ticket.committed()
        appended = sum(sql.startswith(APPEND) for sql in disk.statements)
        if threads:
            # Those that are committed on the loop's thread make groups of a bounded size.
            assert appended <= sum(size.bit_count() + size // 64 for size in _groups(count))
        else:
            assert appended == count
        seqs = [(seq, 2 * seq - 3) for seq in range(2, count + 2)]
        assert await query(spool, "SELECT seq, first_position FROM chunk WHERE seq > 1 ORDER BY seq") == seqs
        assert await ledger(spool) == {"accepted": 2 * count + 1, "pending": 2 * count + 1}
        assert await query(spool, "SELECT requests, events FROM intake") == [(count + 1, 2 * count + 1)]


def _groups(count: int) -> list[int]:
    whole, rest = divmod(count, HERE_CHUNKS)
    return [HERE_CHUNKS] * whole + [rest]
