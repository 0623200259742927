"""Whatever happens to a spool, and whenever it dies: it holds what its reference model holds."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import tempfile
from collections import Counter, defaultdict, deque
from functools import partial
from pathlib import Path
from random import Random  # noqa: TID251 - seeded

import pytest
from fakes.clocks import A_DAY, StandingClocks
from fakes.disks import let_fail
from fakes.portal import Portal
from fakes.spool_checks import check
from fakes.spool_forwards import Forwards
from fakes.spool_model import BOUNDS, CONFIGURATIONS, FROM_OLDEST, STREAMS, Model
from fakes.spools import (
    FAST_DISK,
    accept_together,
    chunk,
    database_of,
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

from collector.errors import SpoolFull, SpoolNoSpace, SpoolUnavailable
from collector.spool import read, replay, retention
from collector.spool.aside import mark_damaged
from collector.spool.directory import DATABASE_FILE
from collector.spool.identity import Machine
from collector.spool.letters import Choice
from collector.spool.options import LetterBounds
from collector.spool.store import stored
from collector.spool.verify import verify

MAX_AGE = 100
MAX_LETTERS = 4
MAX_LETTER_AGE = 150
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


class SpoolMachine(Forwards, RuleBasedStateMachine):
    def __init__(self, portal: Portal, root: Path) -> None:
        super().__init__()
        self.run = portal.run
        self.root = root
        self.lives = itertools.count(1)
        self.directory = root / "0"
        self.clocks = StandingClocks()
        self.machine = 1
        self.boot = 0
        self.numbers = itertools.count(1)
        self.model = Model()
        self.cursors: dict[int, tuple[int, int, int]] = {}
        self.company: list = []  # requests that share a commit with what is written next

    @initialize(configuration=st.sampled_from(CONFIGURATIONS), requests=st.lists(requests, max_size=6))
    def begin(self, configuration, requests):
        self.open(configuration)
        self.commit(requests)

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
            letters=LetterBounds(max_count=MAX_LETTERS, max_age=MAX_LETTER_AGE),
        )
        self.model.configure(configuration, FROM_OLDEST)
        self.spool = self.run(self.context.__aenter__)
        assert self.read(partial(verify, bodies=False)).problems == []
        self.boot += 1  # the machine's starts have no name here, so each of the daemon's is one
        self.keep_clocks()

    def keep_clocks(self):
        clocks = self.clocks
        confirmed = clocks.good and clocks.confirmed
        self.model.keep_clocks(boot=self.boot, age=clocks.age, wall=clocks.wall, confirmed=confirmed)

    def close(self):
        self.run(self.context.__aexit__, None, None, None)

    def teardown(self):
        if hasattr(self, "spool"):
            self.close()

    def write(self, work):
        if self.spool.disk_full:
            return self.run(self.spool.write, work)
        requests, self.company = self.company, []
        return self.commit(requests, work)

    def read(self, work):
        return self.run(self.spool.read, work)

    # -- accepting

    def new_chunk(self, stream, events, kind, address):
        return chunk(
            events,
            dialect=stream[0],
            product=stream[1],
            remote_address=f"10.0.0.{address}" if stream[0] == "traintracks" else "",
            pad=400 if kind == "large" else 0,
            gzip=kind == "gzip",
            received_at=self.clocks.wall,
            numbers=self.numbers,  # what a chunk takes must not depend on the lives before
        )

    def over(self, new, before=()):
        """The upstreams that are at their bounds, and whether that is all of those that take a request.

        `before` has, for each request that comes before it in its commit, by upstream what that is given.
        """
        stream, size = (new.dialect, new.product), len(stored(new)[1])
        given = Counter()
        for more in before:
            given.update(more)
        takers = self.model.takers(stream)
        over = {name for name in takers if self.model.is_over(name, size, before=given[name])}
        return over, over == set(takers)

    def commit(self, requests, work=None):
        """Requests share one commit, all of them or none; returns what the work in it returned."""
        chunks = [self.new_chunk(*request) for request in requests if self.model.takers(request[0])]
        given, kept, refused = [], defaultdict(deque), []
        for new in chunks:
            over, everyone = self.over(new, given)
            refused.append(everyone)
            if not everyone:
                stream = (new.dialect, new.product)
                kept[stream].append((new, over))
                given.append(dict.fromkeys({*self.model.takers(stream)} - over, len(stored(new)[1])))
        refusals, result = self.run(accept_together, self.spool, chunks, work)
        assert [refusal is not None for refusal in refusals] == refused
        assert all("lane e/" in str(refusal) for refusal in refusals if refusal is not None)
        # Only a stream has an order; with other work, which may end them again, they come as they are.
        order = [(new.dialect, new.product) for new, full in zip(chunks, refused, strict=True) if not full]
        if work is None:
            found = self.read(partial(self.streams_from, seq=self.model.next_seq))
            assert sorted(found) == sorted(order)
            order = found
        for stream in order:
            self.accepted(*kept[stream].popleft())
        return result

    def streams_from(self, connection, seq):
        """Whose the chunks are that were appended from a number on."""
        return connection.execute(
            "SELECT dialect, product FROM chunk JOIN stream ON stream.id = chunk.stream WHERE seq >= ?"
            " ORDER BY seq",
            (seq,),
        ).fetchall()

    def accepted(self, new, over):
        stream, size = (new.dialect, new.product), len(stored(new)[1])
        day = self.clocks.wall // A_DAY if self.clocks.good else 0
        self.model.accept(stream, new.events, day=day, age=self.clocks.age, size=size, over=over)

    @rule(
        requests=st.lists(requests, min_size=1, max_size=6),
        how=st.sampled_from(["one by one", "together", "with other work"]),
    )
    def accept(self, requests, how):
        for stream, *_ in requests:
            if not self.model.takers(stream):
                with pytest.raises(ValueError, match="no upstream takes"):
                    self.spool.submit(chunk(dialect=stream[0], product=stream[1]))
        if how == "one by one":
            for request in requests:
                self.commit([request])
        elif how == "together":
            self.commit(requests)
        else:
            self.company = requests

    @rule(requests=st.lists(requests, min_size=1, max_size=4), checkpoint=st.booleans())
    def be_refused_by_the_disk(self, requests, checkpoint):
        chunks = [self.new_chunk(*request) for request in requests]
        chunks = [new for new in chunks if not self.over(new)[1]]
        if not chunks:
            return
        database = database_of(self.spool)
        real = database.connection
        let_fail(database, "COMMIT", *(["PRAGMA wal_checkpoint(TRUNCATE)"] if checkpoint else []))
        for _ in range(2):
            with pytest.raises(SpoolUnavailable):
                self.run(accept_together, self.spool, chunks)
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

    @rule(request=requests)
    def find_the_quota_reached(self, request):
        """A request that there is no room for is refused whole, and nothing else ends for it."""
        if not self.model.takers(request[0]):
            return
        options = self.spool.options
        self.run(self.spool.change, dataclasses.replace(options, max_bytes=1))
        with pytest.raises(SpoolFull, match="of 1 bytes are in use"):
            self.run(self.spool.submit(self.new_chunk(*request)).committed)
        self.run(self.spool.change, options)

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

    # -- dead letters

    @precondition(lambda self: self.model.letters)
    @rule(numbers=st.sets(which, min_size=1, max_size=4), everything=st.booleans())
    def replay(self, numbers, everything):
        present = list(self.model.letters)
        named = present if everything else [present[number % len(present)] for number in numbers]
        done = self.run(replay.replay, self.spool, self.choice(named, everything=everything))
        replayed = self.model.replayable(set(named))
        damaged = {number for number in named if self.model.letters[number].damaged}
        assert done == replay.Replayed(len(replayed), len(damaged), len({*named} - {*replayed} - damaged))
        letters = [self.model.letters.pop(number) for number in replayed]
        for (lane, day), group in itertools.groupby(
            letters, key=lambda letter: (id(letter.lane), letter.day)
        ):
            events = list(group)
            assert {id(letter.lane) for letter in events} == {lane}
            while events:
                # In chunks of their own where they came under clocks of their own.
                ((size, count),) = self.read(partial(self.chunk_row, seq=self.model.next_seq))
                assert 0 < count <= len(events)
                self.model.replay(events[0].lane, day, count, age=self.clocks.age, size=size)
                del events[:count]

    @precondition(lambda self: self.model.letters)
    @rule(numbers=st.sets(which, min_size=1, max_size=2))
    def purge(self, numbers):
        present = list(self.model.letters)
        named = {present[number % len(present)] for number in numbers}
        assert self.run(replay.purge, self.spool, self.choice(named)) == len(named)
        for number in named:
            del self.model.letters[number]

    def choice(self, named, *, everything=False):
        return Choice(all=True) if everything else Choice(ids=tuple(named))

    def chunk_row(self, connection, seq):
        rows = connection.execute("SELECT length(body), events FROM chunk WHERE seq = ?", (seq,))
        return rows.fetchall()

    # -- retention, time and damage

    @rule(
        ms=st.sampled_from([0, 1, 50, 100]),
        jump=st.sampled_from([0, 0, 60, A_DAY, -A_DAY, 4000 * A_DAY]),
        good=st.booleans(),
        confirmed=st.booleans(),
    )
    def pass_time(self, ms, jump, good, confirmed):
        self.clocks.pass_time(ms)
        self.clocks.wall = max(A_DAY, self.clocks.wall + jump)
        self.clocks.good = good
        self.clocks.confirmed = confirmed

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
        self.keep_clocks()
        self.spool.in_flight = frozenset()
        predicted = {}
        for name, lane in self.model.lanes.items():
            events = self.model.head_events(lane, older_than=self.clocks.age - MAX_AGE)
            if events and name not in spared:
                predicted[name] = events
                self.model.retire(lane, events, "expired")
        assert expired == predicted
        self.model.trim_letters(max_count=MAX_LETTERS, died_before=self.clocks.age - MAX_LETTER_AGE)

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
        off=st.sampled_from([0, 0, 60, 100, A_DAY]),
    )
    def restart(self, how, configuration, off):
        """After a death, what is in the files as of now is all there is."""
        if how == "die":
            self.go_on_in(snapshot(self.directory, self.root / str(next(self.lives))), configuration)
            return
        self.close()
        self.keep_clocks()
        self.clocks.wall += off
        if how == "clone":
            self.machine += 1
            for lane in self.model.lanes.values():
                self.model.end_batch(lane)
        self.open(configuration or self.model.takes)

    @precondition(lambda self: self.model.chunks)
    @rule(dies=st.booleans())
    def be_salvaged(self, dies):
        """All but the chunks that do not fit their checksums is there again, in a new epoch."""
        directory = snapshot(self.directory, self.root / str(next(self.lives))) if dies else self.directory
        self.close()
        if not dies:
            self.keep_clocks()
        self.directory = directory
        mark_damaged(directory / DATABASE_FILE, "for the test", certain=True)
        self.open(self.model.takes)
        assert self.spool.salvaged is not None
        found = {seq for (seq,) in self.read(lambda c: c.execute("SELECT seq FROM chunk").fetchall())}
        sound = {seq for seq in self.model.needed() if not self.model.chunks[seq].damaged}
        assert sound <= found <= {*self.model.needed()}
        self.model.salvage(found)
        assert self.read(verify).problems == []

    def go_on_in(self, directory, configuration=None):
        self.close()
        self.directory = directory
        self.open(configuration or self.model.takes)

    @rule(requests=st.lists(requests, min_size=1, max_size=4), share=st.floats(0, 1))
    def die_within_a_commit(self, requests, share):
        """Only a part of the commit's frames came to be in the log; none of its requests was answered."""
        earlier, before = copy.deepcopy(self.model), self.files()
        self.commit(requests)
        after = self.files()
        if after[0] != before[0] or not after[1].startswith(before[1]):
            return  # the log began anew: there is no telling which frames are of this commit
        kept = len(before[1]) + round(share * (len(after[1]) - len(before[1])))
        directory = snapshot(self.directory, self.root / str(next(self.lives)))
        (directory / "spool.db-wal").write_bytes(after[1][:kept])
        if kept < len(after[1]):
            self.model = earlier
        self.go_on_in(directory)

    def files(self):
        return tuple((self.directory / name).read_bytes() for name in ("spool.db", "spool.db-wal"))

    # -- what must hold

    @invariant()
    def the_tables_say_what_the_model_says(self):
        if hasattr(self, "spool"):
            self.read(partial(check, model=self.model, cursors=self.cursors))


def test_a_spool_holds_what_its_model_holds_whatever_happens_to_it():
    with Portal() as portal, tempfile.TemporaryDirectory(dir=FAST_DISK) as root:
        examples = itertools.count()
        run_state_machine_as_test(
            lambda: SpoolMachine(portal, Path(root) / str(next(examples))),
            settings=settings(max_examples=settings.default.max_examples // 3),
        )
