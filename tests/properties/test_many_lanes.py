"""Several lanes of several upstreams at once: each ends each of its events once, in order, by itself."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import trio
from fakes.lanes import PRODUCT, samsara, site, traintracks
from fakes.sender import ScriptedSender, after, answer, naming_some, no_answer, too_large
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from collector.core.failure import Failure
from collector.core.verdict import Delivered, Rejected
from collector.spool import steering
from collector.spool.overview import overview

if TYPE_CHECKING:
    from fakes.sender import Step

OTHER_PRODUCT = "b32e6578-17b7-11e4-930a-bc764e1c05e4"
STREAMS = ("samsara", f"traintracks/{PRODUCT}", f"traintracks/{OTHER_PRODUCT}")
UPSTREAMS = ("first", "second", "site")
LANES = {
    "first/samsara": "samsara",
    "second/samsara": "samsara",
    f"site/{STREAMS[1]}": STREAMS[1],
    f"site/{STREAMS[2]}": STREAMS[2],
}


steps = st.one_of(
    st.builds(Delivered),
    st.sampled_from([400, 413, 422]).map(answer),
    st.sampled_from([202, 301, 401, 429, 500, 503]).map(answer),
    st.lists(st.integers(0, 50), min_size=1, max_size=4).map(naming_some),
    st.builds(no_answer, st.sampled_from(Failure), wrote_body=st.booleans()),
    st.integers(1, 40).map(lambda seconds: after(seconds, Delivered())),
)
moods = st.sampled_from([Delivered(), too_large(600), too_large(2000), answer(503), answer(401), answer(500)])


@dataclass(frozen=True)
class Scene:
    """Requests are accepted, time passes, and then something happens to an upstream or to all."""

    requests: list[tuple[int, int]]
    seconds: float
    then: Literal["go on", "hurry", "flush", "pause", "resume", "die", "stop"]
    upstream: str


scenes = st.builds(
    Scene,
    requests=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 20)), max_size=5),
    seconds=st.sampled_from([0.01, 1, 30, 3600]),
    then=st.sampled_from(["go on", "hurry", "flush", "pause", "resume", "die", "stop"]),
    upstream=st.sampled_from(UPSTREAMS),
)


class Watch(ScriptedSender):
    """Holds each attempt against those before it in its lane."""

    def __init__(self, script: list[Step], mood: Step) -> None:
        super().__init__(*script, otherwise=mood)
        self.sent: dict[str, tuple[str, int, int, bytes]] = {}
        self.done: dict[str, int] = {}
        self.refused: set[tuple[str, int]] = set()

    async def attempt(self, batch, body):
        lane = batch.lane_name
        sent = (lane, batch.first, batch.last, body)
        if self.sent.setdefault(batch.id, sent) != sent:
            self.problems.append(f"batch {batch.id} changed between two attempts")
        if batch.first < self.done.get(lane, 0):
            self.problems.append(f"{lane}: {batch.first} is sent after {self.done[lane] - 1} was delivered")
        outcome = await super().attempt(batch, body)
        if isinstance(outcome.verdict, Delivered):
            self.done[lane] = batch.last + 1
        if isinstance(outcome.verdict, Rejected):
            self.refused |= {(lane, batch.first + index) for index, _ in outcome.verdict.named}
        return outcome


async def accept(here, stream: int, events: int) -> None:
    if stream == 0:
        await here.accept(events)
    else:
        await here.accept_traintracks(events, product=STREAMS[stream].partition("/")[2])


async def steer(here, name: str, what: str) -> None:
    at = here.times.wall_ms() if what == "pause" else None
    match what:
        case "hurry":
            here.forwarder.hurry(name)
        case "flush":
            here.forwarder.flush(name)
        case "pause" | "resume":
            await here.spool.write(partial(steering.set_paused, upstream=name, at=at))
            breaker = here.forwarder.breaker(name)
            breaker.pause() if what == "pause" else breaker.resume()


async def live(directory: Path, senders: dict, play: list[Scene]) -> None:
    remaining = iter(play)
    scene = next(remaining, None)
    while scene is not None:
        async with site(directory, senders) as here:
            while scene is not None:
                for stream, events in scene.requests:
                    await accept(here, stream, events)
                await trio.sleep(scene.seconds)
                ended, scene = scene, next(remaining, None)
                await steer(here, ended.upstream, ended.then)
                if ended.then == "stop":
                    here.forwarder.stop(drain_timeout=5)
                    await trio.sleep(5.01)
                if ended.then in {"die", "stop"}:
                    break
    for sender in senders.values():
        sender.script.clear()
        sender.otherwise = Delivered()
    async with site(directory, senders) as here:
        for name in UPSTREAMS:
            await steer(here, name, "resume")
        await trio.sleep(80_000)
        await check(here, list(senders.values()), play)


async def check(here, senders: list[Watch], play: list[Scene]) -> None:
    accepted = Counter()
    for scene in play:
        for stream, events in scene.requests:
            accepted[STREAMS[stream]] += events
    rows = {row.lane: row for row in (await here.spool.read(overview)).ledger}
    letters = await here.query(
        "SELECT upstream.name, dialect, product, position FROM dead_letter"
        " JOIN lane ON lane.id = dead_letter.lane JOIN upstream ON upstream.id = lane.upstream"
        " JOIN stream ON stream.id = lane.stream"
    )
    taken = {lane: positions for sender in senders for lane, positions in sender.taken.items()}
    refused = set().union(*(sender.refused for sender in senders))
    assert await here.batches() == []
    assert set(rows) <= set(LANES)
    for lane, stream in LANES.items():
        whole = list(range(accepted[stream]))
        dead = [place for *names, place in letters if "/".join(filter(None, names)) == lane]
        arrived = taken.get(lane, [])
        assert arrived == sorted(set(arrived)), f"{lane}: delivered twice, or out of order"
        assert sorted(arrived + dead) == whole, f"{lane}: an event is missing, or ended twice"
        assert {(lane, position) for position in dead} <= refused, f"{lane}: dead, and refused by nobody"
        counts = rows.get(lane)
        told = (counts.accepted, counts.pending, counts.delivered, counts.dead) if counts else (0,) * 4
        assert told == (len(whole), 0, len(arrived), len(dead)), lane


@settings(deadline=None, max_examples=settings.default.max_examples // 3)
@given(
    play=st.lists(scenes, min_size=1, max_size=6),
    scripts=st.lists(st.lists(steps, max_size=15), min_size=3, max_size=3),
    tempers=st.lists(moods, min_size=3, max_size=3),
    max_events=st.integers(1, 40),
)
def test_each_lane_ends_each_of_its_events_once_and_in_order(play, scripts, tempers, max_events):
    first, second, third = (Watch(script, mood) for script, mood in zip(scripts, tempers, strict=True))
    senders = {
        samsara("first", max_events=max_events): first,
        samsara("second", max_events=7, linger=5.0): second,
        traintracks("site", max_events=max_events, late_after=20.0): third,
    }
    with tempfile.TemporaryDirectory() as directory:
        trio.run(
            live,
            Path(directory),
            senders,
            play,
            clock=MockClock(autojump_threshold=0),
            strict_exception_groups=True,
        )
