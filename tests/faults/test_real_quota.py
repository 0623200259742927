"""A real daemon at its quota, with two upstreams of which one is dead."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.daemon import LISTENERS, Daemon, total, unbalanced, until
from fakes.delivery import Sent, arrivals, bare, delivery_faults
from fakes.load import padded, post
from fakes.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.daemon import Reply

MIB = 1 << 20
QUOTA = 16 * MIB
REQUEST = 400_000
EVENTS = 4

CONFIG = f"""
{LISTENERS}
[spool]
max_bytes = "16MiB"
when_full = "WHEN_FULL"

[[upstream]]
name = "well"
kind = "samsara"
url = "WELL"
signing = "none"
backoff = {{ initial = "100ms", max = "1s" }}

[[upstream]]
name = "dead"
kind = "samsara"
url = "DEAD"
signing = "none"
backoff = {{ initial = "100ms", max = "1s" }}
BOUND
"""

pytestmark = pytest.mark.system


@dataclass
class Site:
    """A daemon, its two upstreams, and one app."""

    daemon: Daemon
    well: Outage
    dead: Outage
    sent: list[Sent] = field(default_factory=list)
    acknowledged: list[Sent] = field(default_factory=list)

    def post(self) -> Reply:
        """Post a request that takes about half of `REQUEST` in the spool."""
        events = padded(len(self.sent), EVENTS, size=REQUEST // EVENTS)
        self.sent += events
        reply = post(self.daemon.socket, events)
        if reply.status == 202:
            self.acknowledged += events
        return reply

    def files(self) -> int:
        """What database and log take."""
        names = ("spool.db", "spool.db-wal")
        return sum((self.daemon.state_dir / name).stat().st_size for name in names)

    def well_has_all(self) -> None:
        """Wait until the healthy upstream has what was acknowledged: it is well, and not endlessly fast."""
        wanted = len(self.acknowledged)
        until(
            lambda: total(self.daemon.status(), "delivered", lane="well") == wanted, "the healthy one has it"
        )

    def delivered_to_well(self) -> None:
        """The healthy upstream gets all that was acknowledged, as it was sent."""
        self.well_has_all()
        (arrived,) = arrivals(self.well).values()
        assert delivery_faults(self.sent, self.acknowledged, arrived) == []


@contextmanager
def site(tmp_path: Path, *, when_full: str, bound: str = "") -> Iterator[Site]:
    with ExitStack() as stack:
        well, dead = stack.enter_context(Outage()), stack.enter_context(Outage())
        dead.down = True
        # A socket's path has to be short.
        runtime = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ws-")))
        config = CONFIG.replace("WHEN_FULL", when_full).replace("BOUND", bound)
        config = config.replace("WELL", well.url).replace("DEAD", dead.url)
        daemon = Daemon(Path(sys.executable).with_name("waystation"), tmp_path, runtime, config)
        stack.callback(lambda: print(daemon.log()))  # noqa: T201 - pytest shows it where a test failed
        stack.callback(daemon.close)
        yield Site(daemon.start(), well, dead)


@pytest.mark.parametrize("when_full", ["reject", "drop-oldest"])
@pytest.mark.parametrize("bound", ["", 'max_bytes = "2MiB"'], ids=["quota", "bound"])
def test_a_dead_upstream_never_stops_the_events_of_another(tmp_path, when_full, bound):
    with site(tmp_path, when_full=when_full, bound=bound) as here:
        for number in range(30 if bound else 70):
            assert here.post().status == 202
            assert here.files() <= QUOTA
            if number % 5 == 0:
                here.well_has_all()
        here.delivered_to_well()
        status = here.daemon.status()
        assert unbalanced(status) == []
        evicted = total(status, "evicted", lane="dead")
        assert total(status, "pending", lane="dead") == len(here.acknowledged) - evicted > 0
        assert total(status, "evicted", lane="well") == 0
        # What was kept for it arrives in order: the first of all events, or the last of them, save for
        # what came while a batch of the oldest was on its way.
        here.dead.down = False
        here.daemon.forwarded()
        (arrived,) = arrivals(here.dead).values()
        assert list(arrived) == sorted(arrived)
        kept = [bare(text) for text in arrived.values()]
        texts = [event.text for event in here.acknowledged]
        assert len(kept) == len(texts) - evicted
        if when_full == "reject":
            assert kept == texts[: len(kept)]
        else:
            assert kept == [text for text in texts if text in set(kept)]
            assert texts[0] not in kept
        until(lambda: "events_ended_in_all" in here.daemon.log(), "the burst is over")
        told = [line for line in here.daemon.log().splitlines() if "events_ended" in line]
        assert len(told) == 2, told
        assert f"events={evicted}" in told[1]
        assert "lane=dead/samsara" in told[1]


def test_where_all_upstreams_are_dead_requests_wait_a_moment_and_are_refused_by_name(tmp_path):
    with site(tmp_path, when_full="reject") as here:
        here.well.down = True
        while (reply := here.post()).status == 202:
            assert here.files() <= QUOTA
        assert reply.status == 503
        assert int(reply.headers["retry-after"]) > 0
        assert "/samsara holds too much" in json.loads(reply.body)["message"]
        status = here.daemon.status()
        assert total(status, "evicted") == 0
        assert status["spool"]["refused_requests"] == 1
        assert here.daemon.ask("/readyz").status == 200
        here.well.down = here.dead.down = False
        # One may be back before the other, which would have no room for what comes meanwhile.
        here.daemon.forwarded()
        assert here.post().status == 202
        here.daemon.forwarded()
        here.delivered_to_well()


@pytest.mark.parametrize("when_full", ["reject", "drop-oldest"])
def test_a_quota_below_what_is_stored_is_obeyed_at_the_next_start(tmp_path, when_full):
    with site(tmp_path, when_full=when_full) as here:
        here.well.down = True
        config = here.daemon.config_file.read_text(encoding="utf-8")
        assert here.daemon.stop() == 0
        here.daemon.configure(config.replace("16MiB", "64MiB"))
        here.daemon.start()
        for _ in range(80):
            assert here.post().status == 202
        assert here.daemon.stop() == 0
        here.daemon.configure(config)
        here.daemon.start()
        told = "over_quota" if when_full == "reject" else "fate=evicted"
        until(lambda: told in here.daemon.log(), "it says so")
        if when_full == "reject":
            assert here.post().status == 503
            here.well.down = here.dead.down = False
            here.daemon.forwarded()
            assert total(here.daemon.status(), "evicted") == 0
        until(lambda: here.files() <= QUOTA, "the files are within the quota", within=60)
        until(lambda: here.post().status == 202, "it accepts again", within=60)
        status = here.daemon.status()
        assert unbalanced(status) == []
        assert status["spool"]["used_bytes"] <= QUOTA
