"""Whatever an upstream answers, and whenever the daemon dies: each event ends once, and in order."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio
from fakes.lanes import samsara, site, traintracks
from fakes.sender import ScriptedSender, after, answer, no_answer
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from collector.core.verdict import Delivered, Failure

if TYPE_CHECKING:
    from fakes.lanes import Site
    from fakes.sender import Step


def naming(seeds: list[int]) -> Step:
    """An answer that names some of the batch's events."""

    def step(batch, body):
        bad = {seed % batch.events for seed in seeds}
        told = ["bad" if index in bad else "OK" for index in range(batch.events)]
        return answer(400, msgspec.json.encode(told))(batch, body)

    return step


steps = st.one_of(
    st.builds(Delivered),
    st.sampled_from([200, 202, 204, 301, 400, 401, 408, 413, 413, 422, 429, 500, 503, 511]).map(answer),
    st.integers(0, 300).map(lambda seconds: answer(503, retry_after=str(seconds))),
    st.lists(st.integers(0, 50), min_size=1, max_size=4).map(naming),
    st.builds(no_answer, st.sampled_from(Failure), wrote_body=st.booleans()),
    st.integers(1, 40).map(lambda seconds: after(seconds, Delivered())),
)


@dataclass(frozen=True)
class Accept:
    events: int


@dataclass(frozen=True)
class Pass:
    seconds: float


@dataclass(frozen=True)
class Hurry:
    pass


@dataclass(frozen=True)
class Die:
    """The process ends where it stands, and is started again."""


@dataclass(frozen=True)
class StopAndStart:
    drain_timeout: float


actions = st.one_of(
    st.builds(Accept, st.integers(1, 30)),
    st.builds(Accept, st.integers(1, 30)),
    st.builds(Pass, st.sampled_from([0.01, 1, 30, 3600])),
    st.builds(Hurry),
    st.builds(Die),
    st.builds(StopAndStart, st.sampled_from([0, 5, 60])),
)


class Watch(ScriptedSender):
    """Holds each attempt against those before it."""

    def __init__(self, script: list[Step]) -> None:
        super().__init__(*script)
        self.sent: dict[str, tuple[int, int, bytes]] = {}
        self.done = 0

    async def attempt(self, batch, body):
        sent = (batch.first, batch.last, body)
        if self.sent.setdefault(batch.id, sent) != sent:
            self.problems.append(f"batch {batch.id} changed between two attempts")
        if batch.first < self.done:
            self.problems.append(f"{batch.first} to {batch.last} is sent after {self.done - 1} was delivered")
        outcome = await super().attempt(batch, body)
        if isinstance(outcome.verdict, Delivered):
            self.done = batch.last + 1
        return outcome


async def act(here: Site, action: object, accept) -> bool:
    """Do one thing; returns whether the process ended by it."""
    match action:
        case Accept():
            await accept(here, action.events)
        case Pass():
            await trio.sleep(action.seconds)
        case Hurry():
            here.forwarder.hurry()
        case StopAndStart():
            here.forwarder.stop(drain_timeout=action.drain_timeout)
            await trio.sleep(action.drain_timeout + 0.01)
        case _:
            pass
    return isinstance(action, Die | StopAndStart)


async def live(directory: Path, upstream, sender: Watch, script: list[object], accept) -> None:
    remaining = list(script)
    while remaining:
        async with site(directory, {upstream: sender}) as here:
            while remaining and not await act(here, remaining.pop(0), accept):
                pass
    sender.script.clear()
    async with site(directory, {upstream: sender}) as here:
        await trio.sleep(80_000)
        ledger = await here.ledger()
        dead = [letter[0] for letter in await here.dead_letters()]
        accepted = sum(action.events for action in script if isinstance(action, Accept))
        taken = [position for positions in sender.taken.values() for position in positions]
        assert ledger.get("accepted", 0) == accepted
        assert ledger.get("delivered", 0) == len(taken)
        assert ledger.get("dead", 0) == len(dead)
        assert taken == sorted(set(taken)), "delivered twice, or out of order"
        assert sorted(taken + dead) == list(range(accepted)), "an event is missing, or ended twice"
        assert await here.batches() == []


@settings(deadline=None)
@given(
    script=st.lists(actions, max_size=12), answers=st.lists(steps, max_size=25), max_events=st.integers(1, 40)
)
def test_each_event_is_delivered_or_dead_once_and_in_order(script, answers, max_events):
    run(samsara(max_events=max_events), answers, script, lambda here, events: here.accept(events))


@settings(deadline=None, max_examples=30)
@given(
    script=st.lists(actions, max_size=12),
    answers=st.lists(steps, max_size=25),
    addresses=st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2"]), min_size=12, max_size=12),
)
def test_so_it_is_where_batches_are_sealed_anew_and_end_with_an_address(script, answers, addresses):
    by_turn = iter(addresses)
    run(
        traintracks(late_after=20.0),
        answers,
        script,
        lambda here, events: here.accept_traintracks(events, address=next(by_turn)),
    )


def run(upstream, answers, script, accept) -> None:
    with tempfile.TemporaryDirectory() as directory:
        trio.run(
            live,
            Path(directory),
            upstream,
            Watch(answers),
            script,
            accept,
            clock=MockClock(autojump_threshold=0),
            strict_exception_groups=True,
        )
