"""Whatever happens to a spool, and whenever it dies: it holds what its reference model holds."""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
from functools import partial
from pathlib import Path
from random import Random  # noqa: TID251 - seeded

import pytest
from fakes.clocks import A_DAY, StandingClocks
from fakes.disks import let_fail
from fakes.portal import Portal
from fakes.spool_model import Model
from fakes.spools import (
    FAST_DISK,
    batch_of,
    chunk,
    database_of,
    next_run,
    positions,
    snapshot,
    spool_in,
    wanted,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from collector.core import batch as batches
from collector.core.narrowing import half_end
from collector.errors import SpoolFull, SpoolNoSpace, SpoolUnavailable
from collector.spool import read, retention, settle
from collector.spool.identity import Machine
from collector.spool.passage import Passage
from collector.spool.store import stored

SAMSARA = ("samsara", "")
TRAINTRACKS = ("traintracks", "p")
STREAMS = (SAMSARA, TRAINTRACKS)
CONFIGURATIONS = (
    {"a": STREAMS},
    {"a": STREAMS, "b": STREAMS},
    {"a": STREAMS, "b": (SAMSARA,)},
    {"b": STREAMS},
    {"a": (TRAINTRACKS,), "b": (SAMSARA,)},
    {"a": STREAMS, "c": STREAMS},
    {"b": (SAMSARA,), "c": STREAMS},
    {"a": STREAMS, "d": STREAMS},
    {"a": STREAMS, "e": STREAMS},
    {"a": (SAMSARA,), "e": STREAMS},
)
BOUNDS = {"e": 1500}
"""What an upstream's lanes may hold together, in bytes."""
FROM_OLDEST = ("c", "d")
MAX_AGE = 100
PAD = Random(1).randbytes(60_000).hex()  # noqa: S311 - for a size alone
BULK = json.dumps([{"timestamp": 1, "sourceId": "s", "eventName": "e", "pad": PAD}]).encode()
"""A request that takes some pages, however it is compressed."""

OUTCOMES = ("deliver", "deliver", "deliver", "postpone", "suspect", "condemn")

which = st.integers(0, 99)
requests = st.tuples(
    st.sampled_from(STREAMS),
    st.integers(1, 9),
    st.sampled_from(["small", "large", "gzip"]),
    st.integers(1, 2),
)


class SpoolMachine(RuleBasedStateMachine):
    def __init__(self, portal: Portal, root: Path) -> None:
        super().__init__()
        self.run = portal.run
        self.root = root
        self.lives = itertools.count(1)
        self.directory = root / "0"
        self.clocks = StandingClocks()
        self.machine = 1
        self.model = Model()
        self.cursors: dict[int, tuple[int, int, int]] = {}

    @initialize(configuration=st.sampled_from(CONFIGURATIONS), requests=st.lists(requests, max_size=6))
    def begin(self, configuration, requests):
        self.open(configuration)
        self.accept(requests)

    def open(self, configuration):
        upstreams = [
            wanted(
                name,
                takes=lambda dialect, product, streams=taken: (dialect, product) in streams,
                from_oldest=name in FROM_OLDEST,
                max_bytes=BOUNDS.get(name),
            )
            for name, taken in configuration.items()
        ]
        self.context = spool_in(
            self.directory,
            *upstreams,
            clocks=self.clocks,
            machine=Machine(f"machine-{self.machine}", ""),
            max_age=MAX_AGE,
        )
        self.model.configure(configuration, FROM_OLDEST)
        self.spool = self.run(self.context.__aenter__)

    def close(self):
        self.run(self.context.__aexit__, None, None, None)

    def teardown(self):
        if hasattr(self, "spool"):
            self.close()

    def write(self, work):
        return self.run(self.spool.write, work)

    def read(self, work):
        return self.run(self.spool.read, work)

    # -- accepting

    def new_chunk(self, stream, events, kind, address):
        return chunk(
            events,
            dialect=stream[0],
            product=stream[1],
            remote_address=f"10.0.0.{address}" if stream == TRAINTRACKS else "",
            pad=400 if kind == "large" else 0,
            gzip=kind == "gzip",
            received_at=self.clocks.wall,
        )

    def over(self, new):
        """The upstreams that are at their bounds, and whether that is all of those that take a request."""
        stream, size = (new.dialect, new.product), len(stored(new)[1])
        over = {name for name in self.model.takers(stream) if self.model.is_over(name, BOUNDS, size)}
        return over, over == set(self.model.takers(stream))

    def accepted(self, new, over):
        stream = (new.dialect, new.product)
        ((size,),) = self.read(
            lambda c: c.execute("SELECT length(body) FROM chunk ORDER BY seq DESC LIMIT 1").fetchall()
        )
        day = self.clocks.wall // A_DAY if self.clocks.good else 0
        self.model.accept(stream, new.events, day=day, age=self.clocks.age, size=size, over=over)

    @rule(requests=st.lists(requests, min_size=1, max_size=3))
    def accept(self, requests):
        for request in requests:
            new = self.new_chunk(*request)
            over, everyone = self.over(new)
            if everyone and over:
                with pytest.raises(SpoolFull, match="lane e/"):
                    self.run(self.spool.submit(new).committed)
            elif self.model.takers(request[0]):
                self.run(self.spool.submit(new).committed)
                self.accepted(new, over)
            else:
                with pytest.raises(ValueError, match="no upstream takes"):
                    self.spool.submit(new)

    @rule(request=requests, checkpoint=st.booleans())
    def be_refused_by_the_disk(self, request, checkpoint):
        if self.over(self.new_chunk(*request))[1]:
            return
        database = database_of(self.spool)
        real = database.connection
        let_fail(database, "COMMIT", *(["PRAGMA wal_checkpoint(TRUNCATE)"] if checkpoint else []))
        for _ in range(2):
            with pytest.raises(SpoolUnavailable):
                self.run(self.spool.submit(self.new_chunk(*request)).committed)
        database.connection = real

    @rule(stream=st.sampled_from(STREAMS), settles=st.booleans())
    def find_the_disk_full(self, stream, settles):
        """A request that needs room is refused whole; settling needs none; then there is room again."""
        new = chunk(1, dialect=stream[0], product=stream[1], body=BULK, received_at=self.clocks.wall)
        over, everyone = self.over(new)
        if everyone:
            return
        connection = database_of(self.spool).connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")
        try:
            self.run(self.spool.submit(new).committed)
        except SpoolNoSpace:
            assert self.spool.disk_full
            if settles and self.model.needed():
                self.forward(number=0, max_events=3, outcomes=["deliver"], marks={0})
        else:
            self.accepted(new, over)  # free pages were enough
        connection.execute(f"PRAGMA max_page_count={1 << 30}")
        self.expire(set(), set())
        assert self.spool.ready

    # -- forwarding

    @precondition(lambda self: self.model.needed())
    @rule(
        number=which,
        max_events=st.integers(1, 12),
        outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=3, max_size=8),
        marks=st.sets(st.integers(0, 11), min_size=1, max_size=3),
    )
    def forward(self, number, max_events, outcomes, marks):
        """A few turns of one lane: what its forwarder would do, for any answer of its upstream."""
        lanes = [item for item in self.model.lanes.items() if item[1].needs]
        name, lane = lanes[number % len(lanes)]
        # Now and then a lane is drained.
        for outcome in itertools.cycle(["deliver"]) if number % 4 == 0 else outcomes:
            if not lane.needs:
                return
            row = next(row for row in self.read(read.lanes) if row.name == name)
            if self.model.head_is_damaged(lane):
                self.bury_damaged(lane, row)
            elif lane.batch is None and row.cursor_position in lane.condemned:
                self.bury(lane, row)
            elif lane.batch is None:
                self.seal(lane, row, max_events)
            else:
                self.settle(lane, row, outcome, marks)

    def seal(self, lane, row, max_events):
        ends = list(lane.condemned)
        if lane.suspect_end is not None:
            ends.append(half_end(row.cursor_position, lane.suspect_end))
        find = partial(next_run, lane=row, max_events=max_events, end_position=min(ends, default=None))
        run = self.read(find)
        batch = self.read(partial(batch_of, lane=row, run=run))
        assert self.write(partial(settle.seal, batch=batch, now=0))
        assert list(range(batch.first, batch.last + 1)) == self.model.pending(lane)[: batch.events]
        lane.batch = batch

    def settle(self, lane, row, outcome, marks):
        batch = lane.batch
        run = self.read(partial(next_run, lane=row, max_events=batch.events))
        if run.last != batch.last:  # a chunk of it is damaged
            assert self.write(partial(settle.unseal, batch=batch))
            self.model.end_batch(lane)
        elif outcome == "deliver":
            settling = partial(settle.delivered, run=run, settled=None, learned_limit=None, now=0)
            assert self.write(partial(settling, batch=batch))
            self.model.finish(lane, batch.events, "delivered")
            self.model.end_batch(lane)
        elif outcome == "postpone":
            failed = partial(settle.postponed, state="retrying", reason="x", status=500, next_attempt_at=5)
            assert self.write(partial(failed, batch=batch, now=0))
        elif batch.events == 1:
            self.bury(lane, row)
        elif outcome == "suspect":
            assert self.write(partial(settle.suspected, batch=batch, learned_limit=2000))
            lane.suspect_end = batch.last + 1
            self.model.end_batch(lane)
        else:
            named = sorted({batch.first + mark % batch.events for mark in marks})
            condemned = [settle.Condemned(position, "bad", 400) for position in named]
            assert self.write(partial(settle.condemned, batch=batch, named=condemned))
            lane.condemned = [*named, *(position for position in lane.condemned if position > batch.last)]
            self.model.end_batch(lane)

    def bury(self, lane, row):
        run = self.read(partial(next_run, lane=row, max_events=1))
        self.put_away(lane, row, Passage.of(run), "dead")

    def bury_damaged(self, lane, row):
        stored = self.model.chunks[lane.needs[0]]
        passage = Passage(
            first_seq=lane.needs[0],
            end_seq=lane.needs[0] + 1,
            end_index=0,
            end_position=stored.first + stored.events,
            days=((stored.day, stored.events - lane.index),),
            passed_bytes=stored.size,
        )
        self.put_away(lane, row, passage, "damaged")

    def put_away(self, lane, row, passage, fate):
        letter = settle.DeadLetter(row.cursor_position, 0, 0, None, "", "bad", 400, "no", b"{}")
        burying = partial(settle.buried, lane=row.id, letter=letter, passage=passage, batch=lane.batch, now=0)
        assert self.write(partial(burying, epoch=self.spool.epoch.name, fate=fate))
        self.model.letters += 1
        self.model.finish(lane, sum(events for _, events in passage.days), fate)
        self.model.end_batch(lane)

    # -- retention, time and damage

    @rule(
        ms=st.sampled_from([0, 1, 50, 100]),
        jump=st.sampled_from([0, 0, A_DAY, -A_DAY, 4000 * A_DAY]),
        good=st.booleans(),
    )
    def pass_time(self, ms, jump, good):
        self.clocks.pass_time(ms)
        self.clocks.wall = max(A_DAY, self.clocks.wall + jump)
        self.clocks.good = good

    @precondition(lambda self: self.model.needed())
    @rule(wanted_bytes=st.none() | st.integers(1, 3000), flying=st.sets(st.integers(0, 3), max_size=2))
    def retain(self, wanted_bytes, flying):
        rows = [row for number, row in enumerate(self.read(read.lanes)) if number in flying]
        in_flight, spared = {row.id for row in rows}, {row.name for row in rows}
        if wanted_bytes is None:
            self.expire(in_flight, spared)
        else:
            self.evict(in_flight, spared, wanted_bytes)

    def expire(self, in_flight, spared):
        self.spool.in_flight = frozenset(in_flight)
        expired = self.run(self.spool.maintain)
        self.spool.in_flight = frozenset()
        predicted = {}
        for name, lane in self.model.lanes.items():
            events = self.model.head_events(lane, older_than=self.clocks.age - MAX_AGE)
            if events and name not in spared:
                predicted[name] = events
                self.model.retire(lane, events, "expired")
        assert expired == predicted

    def evict(self, in_flight, spared, wanted_bytes):
        evicted = self.write(
            lambda connection: retention.evict(connection, wanted_bytes=wanted_bytes, in_flight=in_flight)
        )
        lanes = {name: lane for name, lane in self.model.lanes.items() if lane.needs}
        least = max((self.model.held(lane) for name, lane in lanes.items() if name in spared), default=0) / 2
        ranks = {
            name: (lane.away, self.model.held(lane))
            for name, lane in lanes.items()
            if name not in spared and (lane.away or self.model.held(lane) >= least)
        }
        if not ranks:
            assert evicted == {}
            return
        ((name, events),) = evicted.items()
        assert ranks[name] == max(ranks.values())
        lane = self.model.lanes[name]
        assert events == self.model.head_events(lane, wanted_bytes=wanted_bytes)
        self.model.retire(lane, events, "evicted")

    @precondition(lambda self: self.model.needed())
    @rule(number=which)
    def damage(self, number):
        needed = self.model.needed()
        seq = needed[number % len(needed)]
        if number % 3 == 0 and not self.model.chunks[seq].damaged:
            change = "UPDATE chunk SET body = CAST(x'ff' || substr(body, 2) AS BLOB) WHERE seq = ?"
            self.write(lambda connection: connection.execute(change, (seq,)) and None)
            self.model.chunks[seq].damaged = True

    # -- restarts

    @rule(
        how=st.sampled_from(["stop", "die", "clone"]),
        configuration=st.sampled_from(CONFIGURATIONS) | st.none(),
    )
    def restart(self, how, configuration):
        """After a death, what is in the files as of now is all there is."""
        if how == "die":
            self.go_on_in(snapshot(self.directory, self.root / str(next(self.lives))), configuration)
            return
        self.close()
        if how == "clone":
            self.machine += 1
            for lane in self.model.lanes.values():
                self.model.end_batch(lane)
        self.open(configuration or self.model.takes)

    def go_on_in(self, directory, configuration=None):
        self.close()
        self.directory = directory
        self.open(configuration or self.model.takes)

    @rule(request=requests, share=st.floats(0, 1))
    def die_within_a_commit(self, request, share):
        """Only a part of the commit's frames came to be in the log; its request was not answered."""
        new = self.new_chunk(*request)
        over, everyone = self.over(new)
        if everyone:
            return
        before = self.files()
        self.run(self.spool.submit(new).committed)
        after = self.files()
        if after[0] != before[0] or not after[1].startswith(before[1]):
            self.accepted(
                new, over
            )  # the log began anew: there is no telling which frames are of this commit
            return
        kept = len(before[1]) + round(share * (len(after[1]) - len(before[1])))
        directory = snapshot(self.directory, self.root / str(next(self.lives)))
        (directory / "spool.db-wal").write_bytes(after[1][:kept])
        self.go_on_in(directory)
        if kept == len(after[1]):
            self.accepted(new, over)

    def files(self):
        return tuple((self.directory / name).read_bytes() for name in ("spool.db", "spool.db-wal"))

    # -- what must hold

    @invariant()
    def the_tables_say_what_the_model_says(self):
        if hasattr(self, "spool"):
            self.read(self.check)

    def check(self, connection):
        rows = {lane.name: lane for lane in read.lanes(connection)}
        assert rows.keys() == self.model.lanes.keys()
        seqs = [seq for (seq,) in connection.execute("SELECT seq FROM chunk ORDER BY seq").fetchall()]
        assert seqs == self.model.needed()
        held = {backlog.lane: backlog.bytes for backlog in retention.backlogs(connection)}
        for name, lane in self.model.lanes.items():
            row = rows[name]
            self.check_ledger(connection, row, lane)
            self.check_cursor(connection, row, lane)
            self.check_batch(connection, row, lane)
            assert held[row.id] == self.model.held(lane)
            assert [item.position for item in row.condemned] == lane.condemned
            assert row.suspect_end == lane.suspect_end
        received = connection.execute(
            "SELECT dialect, product, next_position, (SELECT sum(events) FROM intake WHERE intake.stream = id)"
            " FROM stream"
        ).fetchall()
        assert {(row[0], row[1]): (row[2], row[3]) for row in received if row[2]} == {
            stream: (self.model.next_position[stream], count) for stream, count in self.model.received.items()
        }
        ((letters,),) = connection.execute("SELECT count(*) FROM dead_letter").fetchall()
        assert letters == self.model.letters
        batch_ids = {batch_id for (batch_id,) in connection.execute("SELECT id FROM batch").fetchall()}
        assert not batch_ids & self.model.ended

    def check_ledger(self, connection, row, lane):
        columns = ("accepted", "pending", "delivered", "dead", "expired", "evicted", "damaged")
        names = ", ".join((*columns, "outcome_unknown"))
        found = connection.execute(f"SELECT day, {names} FROM ledger WHERE lane = ?", (row.id,)).fetchall()  # noqa: S608
        assert {day: counts for day, *counts in found} == {
            day: [counts[name] for name in (*columns, "outcome_unknown")]
            for day, counts in lane.ledger.items()
        }
        for _, accepted, *ended, _ in found:
            assert accepted == sum(ended)

    def check_cursor(self, connection, row, lane):
        cursor = (row.cursor_seq, row.cursor_index, row.cursor_position)
        earlier = self.cursors.get(row.id, cursor)
        assert earlier[:2] <= cursor[:2]
        assert earlier[2] <= cursor[2]
        self.cursors[row.id] = cursor
        expected = self.model.pending(lane)
        if expected:
            assert cursor[2] == expected[0]
        if not any(self.model.chunks[seq].damaged for seq in lane.needs):
            assert positions(connection, row) == expected
        elif self.model.head_is_damaged(lane):
            with pytest.raises(read.DamagedChunk):
                positions(connection, row)

    def check_batch(self, connection, row, lane):
        batch = read.outstanding(connection, row)
        if lane.batch is None:
            assert batch is None
            return
        assert (batch.id, batch.first, batch.last, batch.epoch, batch.device) == (
            lane.batch.id,
            lane.batch.first,
            lane.batch.last,
            lane.batch.epoch,
            lane.batch.device,
        )
        if not any(self.model.chunks[seq].damaged for seq in lane.needs):
            run = next_run(connection, row, max_events=batch.events)
            context = batches.Context(
                batch.renderer, batch.options, batch.epoch, batch.dialect, batch.product
            )
            assert hashlib.sha256(batches.render(run, context)).digest() == batch.body_sha256


def test_a_spool_holds_what_its_model_holds_whatever_happens_to_it():
    with Portal() as portal, tempfile.TemporaryDirectory(dir=FAST_DISK) as root:
        examples = itertools.count()
        run_state_machine_as_test(
            lambda: SpoolMachine(portal, Path(root) / str(next(examples))),
            settings=settings(
                max_examples=max(20, settings.default.max_examples // 2),
                stateful_step_count=40,
                deadline=None,
            ),
        )
