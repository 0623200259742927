"""A spool's life, short and full: what it was asked to keep, and when it said that it had."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fakes.clocks import A_DAY, StandingClocks
from fakes.spools import PRODUCT, batch_of, chunk, database_of, next_run, query, spool_in, wanted

from collector.spool import database, read, replay, settle
from collector.spool.directory import DATABASE_FILE
from collector.spool.letters import Choice
from collector.spool.passage import Passage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from random import Random  # noqa: TID251 - the caller's, and seeded
    from typing import Literal

    from fakes.recorded_sqlite import Recording

    from collector.core.batch import Run, SealedBatch
    from collector.spool.read import Lane
    from collector.spool.spool import Spool
    from collector.spool.store import NewChunk

Stream = tuple[str, str]
SAMSARA, TRAINTRACKS = ("samsara", ""), ("traintracks", PRODUCT)

MAIN = wanted("main")
SECOND = wanted("second", takes=lambda dialect, _: dialect == "samsara")
THIRD = wanted("third", from_oldest=True)


@dataclass(frozen=True)
class Accepted:
    """A request that was answered with success.

    Attributes:
        at: how many operations the disk had done by then.
        stream: dialect and product.
        seq: its chunk's number: which of all it is, from 1, replayed ones among them.
        first: the position of its first event.
        body: the JSON text of its events.
    """

    at: int
    stream: Stream
    seq: int
    first: int
    events: int
    body: bytes


class Life:
    """The life, from an empty directory on, through several starts.

    Attributes:
        accepted: in order.
        phases: what it was about from which operation on.
    """

    def __init__(
        self, directory: Path, recorded: Recording, chance: Random, durability: Literal["full", "normal"]
    ) -> None:
        self.accepted: list[Accepted] = []
        self.phases: list[tuple[int, str]] = []
        self._directory = directory
        self._recorded = recorded
        self._chance = chance
        self._durability = durability
        self._clocks = StandingClocks()
        self._positions: dict[Stream, int] = {}
        self._chunks = 0

    async def live(self) -> None:
        self._begin("create")
        async with self._open(MAIN, SECOND) as spool:
            for _ in range(12):
                await self._accept(spool)
            for _ in range(14):
                await self._accept(spool)
                await self._forward(spool)
            database_of(spool).connection.execute("PRAGMA wal_autocheckpoint=0")
            await self._replay(spool)
            self._begin("checkpoint")
            database_of(spool).connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            await self._accept(spool)
            await self._forward(spool)
            database_of(spool).connection.keep_log()
        self._begin("start after a kill")
        async with self._open(MAIN, THIRD) as spool:
            with self._being_read():
                for _ in range(4):
                    await self._accept(spool)
                    await self._forward(spool)
            await self._expire(spool)
            await self._forward(spool)
            await self._replay(spool)
            self._begin("close")
        self._begin("start after a close")
        async with self._open(MAIN, SECOND, THIRD, max_bytes=700_000, when_full="drop-oldest") as spool:
            for _ in range(16):
                await self._accept(spool, pad=16_000, phase="evict")
                await self._forward(spool)
            assert spool.counters.ended, "something was evicted"
            self._begin("close")

    def _begin(self, phase: str) -> None:
        self.phases.append((self._recorded.disk.now, phase))

    def _open(self, *upstreams: object, **options: object) -> AbstractAsyncContextManager[Spool]:
        return spool_in(
            self._directory, *upstreams, clocks=self._clocks, durability=self._durability, **options
        )

    # -- accepting

    async def _accept(self, spool: Spool, *, pad: int = 0, phase: str = "append") -> None:
        """Have one to three requests accepted, one after the other."""
        self._begin(phase)
        self._clocks.pass_time(self._chance.randint(0, A_DAY // 8))
        for _ in range(self._chance.randint(1, 3)):
            new, body = self._request(pad)
            ticket = spool.submit(new)
            await ticket.committed()
            stream = (new.dialect, new.product)
            first = self._positions.get(stream, 0)
            self._positions[stream] = first + new.events
            self._chunks += 1
            self.accepted.append(
                Accepted(self._recorded.disk.now, stream, self._chunks, first, new.events, body)
            )

    def _request(self, pad: int) -> tuple[NewChunk, bytes]:
        dialect, product = self._chance.choice((SAMSARA, SAMSARA, TRAINTRACKS))
        events = self._chance.randint(1, 9)
        # Digits of chance, since what compresses well needs no room.
        size = (pad or self._chance.choice((0, 50, 6000))) // events
        body = json.dumps(
            [{"n": n, "pad": self._chance.randbytes(size).hex()} for n in range(events)]
        ).encode()
        return (
            chunk(
                events,
                dialect=dialect,
                product=product,
                body=body,
                gzip=self._chance.random() < 0.3,
                received_at=self._clocks.wall,
            ),
            body,
        )

    # -- forwarding

    async def _forward(self, spool: Spool) -> None:
        """Each lane seals a batch, where it has none, and has something become of it."""
        for lane in await spool.read(read.lanes):
            await self._forward_one(spool, lane)

    async def _forward_one(self, spool: Spool, lane: Lane) -> None:
        batch = await spool.read(lambda connection: read.outstanding(connection, lane))
        ends = [end for end in (lane.suspect_end, *(bad.position for bad in lane.condemned)) if end]
        bounds = {
            "max_events": batch.events if batch else self._chance.choice((1, 4, 20)),
            "end_position": min((end for end in ends if end > lane.cursor_position), default=None),
        }
        run = await spool.read(lambda connection: next_run(connection, lane, **bounds))
        if run is None:
            return
        if any(bad.position == lane.cursor_position for bad in lane.condemned):
            run = await spool.read(lambda connection: next_run(connection, lane, max_events=1))
            await self._bury(spool, lane, run, batch)
            return
        if batch is None:
            self._begin("seal")
            batch = await spool.read(lambda connection: batch_of(connection, lane, run))
            if not await spool.write(partial(settle.seal, batch=batch, now=self._clocks.wall)):
                return  # the same commit made room, and took these events for it
        await self._settle(spool, lane, run, batch)

    async def _settle(self, spool: Spool, lane: Lane, run: Run, batch: SealedBatch) -> None:
        fate = self._chance.choice(
            ("delivered", "delivered", "postponed", "suspected", "condemned", "sealed")
        )
        if fate != "sealed":
            self._begin("settle")
        if batch.events == 1 and fate in {"suspected", "condemned"}:
            await self._bury(spool, lane, run, batch)
            return
        now = self._clocks.wall
        works = {
            "delivered": partial(
                settle.delivered, batch=batch, run=run, settled="1:2", learned_limit=None, now=now
            ),
            "postponed": partial(
                settle.postponed,
                batch=batch,
                state="retrying",
                reason="503",
                status=503,
                next_attempt_at=0,
                now=now,
            ),
            "suspected": partial(settle.suspected, batch=batch, learned_limit=1000, reason="x", now=7),
            "condemned": partial(
                settle.condemned, batch=batch, named=[settle.Condemned(batch.first, "bad", 400)]
            ),
        }
        if fate in works:
            await spool.write(works[fate])

    async def _bury(self, spool: Spool, lane: Lane, run: Run, batch: SealedBatch | None) -> None:
        self._begin("settle")
        (piece,) = run.pieces
        letter = settle.DeadLetter(
            run.first,
            piece.chunk.day,
            piece.chunk.received_at,
            None,
            "",
            "refused",
            400,
            "no",
            piece.events[0],
        )
        await spool.write(
            partial(
                settle.buried,
                lane=lane.id,
                letter=letter,
                passage=Passage.of(run),
                epoch=spool.epoch.name,
                batch=batch,
                now=self._clocks.wall,
            )
        )

    async def _replay(self, spool: Spool) -> None:
        """Each lane's dead letters are pending once more; there is one at least."""
        replayed = 0
        while not replayed:
            await self._accept(spool)
            await self._forward(spool)
            self._begin("replay")
            for lane in await spool.read(read.lanes):
                done = await replay.replay(spool, Choice(lane=lane.name))
                replayed += done.replayed
                stream = (lane.dialect, lane.product)
                self._positions[stream] = self._positions.get(stream, 0) + done.replayed
            ((self._chunks,),) = await query(spool, "SELECT max(last_seq) FROM stream_end")

    # -- upkeep

    async def _expire(self, spool: Spool) -> None:
        """Age ends what the spool holds, but for the newest; the room is given back."""
        for _ in range(3):
            # However little was left by chance: more pages than are kept free.
            await self._accept(spool, pad=40_000)
        self._clocks.pass_time(29 * A_DAY)
        for _ in range(3):
            await self._accept(spool)
        self._begin("expire and vacuum")
        self._clocks.pass_time(A_DAY)
        before = await query(spool, "PRAGMA page_count")
        assert await spool.maintain(), "something expired"
        assert await query(spool, "PRAGMA page_count") < before, "room was given back"

    @contextmanager
    def _being_read(self) -> Iterator[None]:
        """While a reader stands still, checkpoints cannot go past it, and the log grows."""
        with closing(database.open_reader(self._directory / DATABASE_FILE)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM chunk").fetchone()
            yield


def phase_at(phases: Sequence[tuple[int, str]], operation: int) -> str:
    """What a life was about when the disk did an operation."""
    return next(phase for begun, phase in reversed(phases) if begun <= operation)
