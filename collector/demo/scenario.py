"""The demo's story: a daemon, its apps and its upstream have a bad day.

apps --> daemon --> upstream     all is well
apps --> daemon      (away)      the backlog grows
apps --X (SIGKILL)   (away)      in the middle of posting
apps --> daemon      (away)      started again: what was acknowledged is there
         daemon --> upstream     back, with 500s, a 429 and an answer that is lost
"""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from collector.demo import payloads, stage
from collector.demo.arrived import LOST
from collector.demo.daemon import Daemon
from collector.demo.posting import Posting
from collector.demo.process import step
from collector.demo.receiver import Trouble, Troubles
from collector.demo.report import examine
from collector.demo.upstream import Upstream
from collector.errors import DemoFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from collector.demo.payloads import Request
    from collector.demo.report import Report

BATCH_EVENTS = 100
"""Of one batch upstream: few, so that there are many batches."""

TROUBLES = [Trouble(status=500), Trouble(status=500), Trouble(status=429, retry_after=1), Trouble()]
"""What each lane meets when the upstream comes back; the last is the lost answer."""

LANES = 2

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """A signal ended the demo; all that it started is gone."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the demo needs from the outside.

    Attributes:
        tell: says in a line what happens.
        now_ms: wall time, ms since 1970.
        environ: of the process.
    """

    tell: Callable[[str], None]
    now_ms: Callable[[], int]
    environ: Mapping[str, str]


async def run(events: int, seed: int, around: Surroundings) -> Report:
    """Play the story.

    Args:
        events: how many to generate.
        seed: the same one generates the same events.
        around: the outside.

    Raises:
        DemoFailed: a step did not come about.
        Stopped: by SIGINT, SIGTERM or SIGHUP.
    """
    caught: list[int] = []
    reports: list[Report] = []
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(*_SIGNALS) as signals:

            async def watch() -> None:
                async for number in signals:
                    caught.append(number)
                    nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            with stage.directory() as directory:
                reports.append(await _play(stage.Stage(Path(directory)), events, seed, around))
            nursery.cancel_scope.cancel()
    if caught:
        raise Stopped(caught[0])
    return reports[0]


async def _play(place: stage.Stage, events: int, seed: int, around: Surroundings) -> Report:
    tell = around.tell
    upstream = Upstream(place, environ=around.environ)
    daemon = Daemon(place, environ=around.environ)
    async with upstream, daemon:
        port = await upstream.start()
        tell(f"the upstream is up, process {upstream.pid}: it verifies every signature and digest")
        place.configure(port=port, batch_events=BATCH_EVENTS)
        await daemon.start()
        tell(f"the daemon is up, process {daemon.pid}")
        posting = Posting(daemon, secret=place.secret, now_ms=around.now_ms)
        await _post_examples(posting, daemon, upstream, around)
        apps = payloads.generated(events, seed=seed, now_ms=around.now_ms())
        halves = [(app[: len(app) // 2], app[len(app) // 2 :]) for app in apps]
        await _post(posting, daemon, [first for first, _ in halves])
        tell(f"four apps post generated events, both dialects over both listeners: {posting.told()}")
        await upstream.away()
        tell("the upstream is taken away; the apps go on")
        await _post_and_kill(posting, daemon, [second for _, second in halves], tell)
        with step("the daemon tells what is pending", daemon):
            tell(f"all is posted: {posting.told()}; {(await daemon.status()).pending:,} wait on disk")
        await upstream.back(Troubles(samsara=TROUBLES, traintracks=TROUBLES))
        tell("the upstream is back, with two 500s, a 429 with Retry-After, and a lost answer for each lane")
        status = await daemon.drained("the backlog drains", upstream)
        tell("the backlog has drained")
        with step("the daemon stops", daemon):
            daemon.terminate()
            code = await daemon.ended()
        if code:
            raise DemoFailed(step="the daemon stops", reason=f"it ended with {code}\n{daemon.last_words()}")
        troubles = Counter(str(trouble.status or LOST) for trouble in LANES * TROUBLES)
        return examine(posting.posts, await upstream.arrived(), status.balances(), troubles)


async def _post_examples(posting: Posting, daemon: Daemon, upstream: Upstream, around: Surroundings) -> None:
    examples = payloads.examples(now_ms=around.now_ms())
    with step("the documents' examples are posted", daemon):
        for example in examples:
            await posting.post_all([example])
    status = await daemon.drained("the documents' examples arrive", upstream)
    around.tell(
        f"the two documents' example batches are posted over both listeners: {posting.told()}, "
        f"{sum(balance.delivered for balance in status.balances().values())} delivered"
    )


async def _post(posting: Posting, daemon: Daemon, apps: list[list[Request]]) -> None:
    with step("four apps post", daemon):
        async with trio.open_nursery() as nursery:
            for requests in apps:
                nursery.start_soon(posting.post_all, requests)


async def _post_and_kill(
    posting: Posting, daemon: Daemon, apps: list[list[Request]], tell: Callable[[str], None]
) -> None:
    """Post, and kill the daemon at half of it: by the app that was answered then, while others wait."""
    half = posting.acknowledged + sum(len(request.events) for app in apps for request in app) // 2
    killed = trio.Event()

    def kill() -> None:
        if posting.acknowledged >= half and not killed.is_set():
            daemon.kill()
            killed.set()

    posting.on_acknowledged = kill
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_post, posting, daemon, apps)
        with step("half of the events are acknowledged", daemon):
            await killed.wait()
        with step("the killed daemon is gone", daemon):
            await daemon.ended()
        tell(f"the daemon is killed in the middle of it (SIGKILL): {posting.told()}")
        await daemon.start()
        tell(f"the daemon is up again, process {daemon.pid}; the apps go on")
