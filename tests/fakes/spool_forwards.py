"""A lane's forwarder, one act at a time, on a spool and on its model alike."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fakes.spools import batch_of, next_run

from collector.core.narrowing import half_end
from collector.spool import settle
from collector.spool.passage import Passage

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakes.spool_model import Model

    from collector.spool.spool import Spool


class Forwards:
    """What a machine does for one lane: `lane` is the model's, `row` the spool's."""

    spool: Spool
    model: Model
    read: Callable
    write: Callable

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
            assert self.write(partial(settle.suspected, batch=batch, learned_limit=2000, reason="x", now=7))
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
        ((day, events),) = passage.days
        letter = settle.DeadLetter(row.cursor_position, day, 0, None, "", "bad", 400, "no", b"{}")
        burying = partial(settle.buried, lane=row.id, letter=letter, passage=passage, batch=lane.batch, now=0)
        assert self.write(partial(burying, epoch=self.spool.epoch.name, fate=fate))
        ((age,),) = self.read(lambda connection: connection.execute("SELECT age FROM age_clock").fetchall())
        self.model.bury(lane, day, age=age, damaged=fate == "damaged")
        self.model.finish(lane, events, fate)
        self.model.end_batch(lane)
