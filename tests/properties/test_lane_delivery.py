"""Whatever an upstream answers, and whenever the daemon dies: each event ends once, and in order."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
import trio
from fakes.lanes import samsara, site, traintracks
from fakes.sender import PackingSender, ScriptedSender, after, answer, naming_some, no_answer
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from collector.config.model import Timeouts
from collector.core.failure import Failure
from collector.core.verdict import Delivered, Outcome, Rejected
from collector.forwarder import parts
from collector.spool import steering

if TYPE_CHECKING:
    from fakes.sender import Step


TOTAL = Timeouts().total


def measured(seconds: float, sent_bytes: int) -> Outcome:
    """A delivery that says how it went on the link."""
    return Outcome(Delivered(), wrote_body=True, sent_bytes=sent_bytes, seconds=seconds)


async def too_slow(batch, body):
    """The whole time-out passes while the body is sent."""
    await trio.sleep(TOTAL)
    return no_answer(Failure.TIMEOUT, wrote_body=True)


steps = st.one_of(
    st.builds(Delivered),
    st.sampled_from([400, 413]).map(answer),
    st.sampled_from([202, 204, 301, 401, 408, 422, 429, 500, 503, 511]).map(answer),
    st.integers(0, 300).map(lambda seconds: answer(503, retry_after=str(seconds))),
    st.lists(st.integers(0, 50), min_size=1, max_size=4).map(naming_some),
    st.builds(no_answer, st.sampled_from(Failure), wrote_body=st.booleans()),
    st.integers(1, 40).map(lambda seconds: after(seconds, Delivered())),
    st.builds(measured, st.floats(0, 30), st.integers(1, 50_000)),
    st.just(too_slow),
)


@dataclass(frozen=True)
class Scene:
    """Requests are accepted, time passes, and then something happens.

    `die`: the process ends where it stands. `stop`: it has so many seconds to end. It is
    started again after both, and what was paused is so still.
    """

    requests: list[int]
    seconds: float
    then: Literal["go on", "hurry", "flush", "pause", "resume", "die", "stop"]
    drain_timeout: float = 5.0


plays = st.lists(
    st.builds(
        Scene,
        requests=st.lists(st.integers(1, 30), max_size=3),
        seconds=st.sampled_from([0.01, 1, 30, 3600]),
        then=st.sampled_from(["go on", "hurry", "flush", "pause", "resume", "die", "stop"]),
        drain_timeout=st.sampled_from([0, 5, 60]),
    ),
    min_size=1,
    max_size=6,
)
scripts = st.lists(steps, min_size=3, max_size=25)


class Watch(ScriptedSender):
    """Holds each attempt against those before it."""

    def __init__(self, *script: Step, **options) -> None:
        super().__init__(*script, **options)
        self.sent: dict[str, tuple[int, int, bytes]] = {}
        self.done = 0
        self.refused: set[int] = set()

    async def attempt(self, batch, body):
        sent = (batch.first, batch.last, body)
        if self.sent.setdefault(batch.id, sent) != sent:
            self.problems.append(f"batch {batch.id} changed between two attempts")
        if batch.first < self.done:
            self.problems.append(f"{batch.first} to {batch.last} is sent after {self.done - 1} was delivered")
        outcome = await super().attempt(batch, body)
        if isinstance(outcome.verdict, Delivered):
            self.done = batch.last + 1
        if isinstance(outcome.verdict, Rejected):
            self.refused |= {batch.first + index for index, _ in outcome.verdict.named}
        return outcome


class PackingWatch(PackingSender, Watch):
    """The same of one that takes large bodies packed."""


async def steer(here, name: str, what: str) -> None:
    breaker = here.forwarder.breaker(name)
    match what:
        case "hurry":
            here.forwarder.hurry()
        case "flush":
            here.forwarder.flush(name)
        case "pause":
            await here.spool.write(partial(steering.set_paused, upstream=name, at=here.times.wall_ms()))
            breaker.pause()
        case "resume":
            await here.spool.write(partial(steering.set_paused, upstream=name, at=None))
            breaker.resume()


async def live(directory: Path, upstream, sender: Watch, play: list[Scene], accept) -> None:
    remaining = iter(play)
    scene = next(remaining, None)
    while scene is not None:
        async with site(directory, {upstream: sender}) as here:
            while scene is not None:
                for events in scene.requests:
                    await accept(here, events)
                await trio.sleep(scene.seconds)
                ended, scene = scene, next(remaining, None)
                await steer(here, upstream.name, ended.then)
                if ended.then == "stop":
                    here.forwarder.stop(drain_timeout=ended.drain_timeout)
                    await trio.sleep(ended.drain_timeout + 0.01)
                if ended.then in {"die", "stop"}:
                    break
    sender.script.clear()
    async with site(directory, {upstream: sender}) as here:
        await steer(here, upstream.name, "resume")
        await trio.sleep(80_000)
        ledger = await here.ledger()
        dead = [letter[0] for letter in await here.dead_letters()]
        accepted = sum(sum(scene.requests) for scene in play)
        taken = [position for positions in sender.taken.values() for position in positions]
        assert ledger.get("accepted", 0) == accepted
        assert ledger.get("delivered", 0) == len(taken)
        assert ledger.get("dead", 0) == len(dead)
        assert taken == sorted(set(taken)), "delivered twice, or out of order"
        assert sorted(taken + dead) == list(range(accepted)), "an event is missing, or ended twice"
        assert set(dead) <= sender.refused, "an event is dead that no answer refused by itself"
        assert await here.batches() == []


@settings(deadline=None)
@given(
    play=plays,
    script=scripts,
    max_events=st.integers(1, 40),
    max_batch_bytes=st.sampled_from([1024, 1 << 20]),
    linger=st.sampled_from([0.0, 5.0]),
)
def test_each_event_is_delivered_or_dead_once_and_in_order(play, script, max_events, max_batch_bytes, linger):
    upstream = samsara(max_events=max_events, max_batch_bytes=max_batch_bytes, linger=linger)
    run(upstream, script, play, lambda here, events: here.accept(events))


@settings(deadline=None, max_examples=30)
@given(
    play=plays,
    script=scripts,
    addresses=st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2"]), min_size=18, max_size=18),
)
def test_so_it_is_where_batches_are_sealed_anew_and_end_with_an_address(play, script, addresses):
    by_turn = iter(addresses)
    run(
        traintracks(late_after=20.0),
        script,
        play,
        lambda here, events: here.accept_traintracks(events, address=next(by_turn)),
    )


@settings(deadline=None, max_examples=30)
@given(play=plays, script=scripts, max_events=st.integers(5, 100), part=st.sampled_from([100, 300, 1000]))
def test_so_it_is_where_batches_come_in_parts(play, script, max_events, part):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "WORTH_BYTES", 300)
        patch.setattr(parts, "PART_BYTES", part)
        upstream = samsara(max_events=max_events)
        run(upstream, script, play, lambda here, events: here.accept(events), sender=PackingWatch)


def run(upstream, script, play, accept, sender=Watch) -> None:
    with tempfile.TemporaryDirectory() as directory:
        trio.run(
            live,
            Path(directory),
            upstream,
            sender(*script),
            play,
            accept,
            clock=MockClock(autojump_threshold=0),
            strict_exception_groups=True,
        )
