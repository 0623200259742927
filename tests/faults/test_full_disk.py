"""A real disk is full to the last byte: nothing is half-written, all goes out, and ingest opens by itself."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.configs import UNSIGNED
from fakes.daemon import LISTENERS, Daemon, total, unbalanced, until
from fakes.delivery import Sent, arrivals, delivery_faults, repeat_faults, whole
from fakes.load import padded, post
from fakes.mount_namespace import Impossible
from fakes.outage import Outage
from fakes.small_disk import SmallDisk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.daemon import Reply

MIB = 1 << 20
DISK = 44 * MIB
BALLAST = 20 * MIB
EVENTS = 8
"""In a request."""

CONFIG = f"""
state_dir = "$home/disk/state"
{LISTENERS}{UNSIGNED}
backoff = {{ initial = "100ms", max = "1s" }}
timeouts = {{ total = "20s" }}

[log]
level = "info"
"""

pytestmark = pytest.mark.system


@dataclass
class Site:
    """A daemon whose state is on a small disk, and one app."""

    daemon: Daemon
    disk: SmallDisk
    upstream: Outage
    sent: list[Sent] = field(default_factory=list)
    acknowledged: list[Sent] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.disk.seen_from_outside / "state"

    def post(self, size: int) -> Reply:
        """Post a request of about `size` bytes that do not compress to less than half."""
        events = padded(len(self.sent), EVENTS, size=size // EVENTS)
        self.sent += events
        reply = post(self.daemon.socket, events)
        if reply.status == 202:
            self.acknowledged += events
        return reply

    def refused(self) -> None:
        """A small request is refused, with all that an app needs to know."""
        reply = self.post(1000)
        assert reply.status == 503
        assert int(reply.headers["retry-after"]) > 0
        assert "no room left on the disk" in json.loads(reply.body)["message"]
        assert self.daemon.ask("/readyz").status == 503
        assert self.daemon.status()["spool"]["disk_full"]

    def post_until_refused(self, size: int) -> int:
        """How many requests were accepted."""
        count = 0
        while (reply := self.post(size)).status == 202:
            count += 1
        assert reply.status == 503
        assert int(reply.headers["retry-after"]) > 0
        until(lambda: self.daemon.status()["spool"]["disk_full"], "it knows that the disk is full")
        return count

    def runs(self) -> None:
        """Wait until it answers; it is not ready while the disk is full."""

        def answers() -> bool:
            try:
                return self.daemon.ask("/livez").status == 200
            except OSError:
                return False

        until(answers, "it runs")

    def accepts(self) -> bool:
        return self.post(1000).status == 202

    def check(self) -> None:
        """All that was acknowledged has arrived, once and in order, and the ledger says so."""
        status = self.daemon.forwarded()
        assert unbalanced(status) == []
        (arrived,) = arrivals(self.upstream).values()
        assert delivery_faults(self.sent, self.acknowledged, arrived) == []
        assert repeat_faults(whole(self.upstream.received)) == []
        assert total(status, "accepted") == total(status, "delivered") == len(self.acknowledged)


@contextmanager
def site(tmp_path: Path, size: int = DISK) -> Iterator[Site]:
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(SmallDisk(tmp_path, size))
        except Impossible as error:
            pytest.skip(f"no disk can be filled here: {error}")
        upstream = stack.enter_context(Outage())
        upstream.down = True
        # A socket's path has to be short.
        runtime = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ws-")))
        command = disk.command(Path(sys.executable).with_name("waystation"), tmp_path)
        daemon = Daemon(command, tmp_path, runtime, CONFIG.replace("URL", upstream.url))
        stack.callback(lambda: print(daemon.log()))  # noqa: T201 - pytest shows it where a test failed
        stack.callback(daemon.close)
        daemon.start()
        assert (disk.seen_from_outside / "state/ballast").stat().st_size == BALLAST
        yield Site(daemon, disk, upstream)


def test_a_disk_that_ingest_filled_drains_with_no_byte_free_and_then_takes_more(tmp_path):
    with site(tmp_path) as here:
        assert here.post_until_refused(300_000) > 50
        here.disk.fill()
        assert here.disk.free == 0
        here.refused()
        assert total(here.daemon.status(), "pending") == len(here.acknowledged)
        here.upstream.down = False
        here.check()
        # What the backlog took is enough: the other file is still there.
        until(here.accepts, "it accepts again")
        assert (here.state / "ballast").stat().st_size == BALLAST
        assert here.daemon.ask("/readyz").status == 200
        assert here.daemon.status()["healthy"]
        here.check()
        log = here.daemon.log()
        assert log.count("disk_full") == log.count("disk_has_room") == 1
        assert "Traceback" not in log


def test_a_disk_that_others_filled_drains_and_ingest_opens_when_they_make_room(tmp_path):
    with site(tmp_path) as here:
        for _ in range(40):
            assert here.post(100_000).status == 202
        here.disk.fill()
        here.post_until_refused(100_000)
        here.disk.fill()
        assert here.disk.free == 0
        here.upstream.down = False
        here.check()
        here.refused()
        here.disk.clear()
        until(here.accepts, "it accepts again")
        assert (here.state / "ballast").stat().st_size == BALLAST
        here.check()


def test_a_request_that_is_refused_leaves_nothing_behind_even_where_the_daemon_dies(tmp_path):
    with site(tmp_path) as here:
        here.post_until_refused(300_000)
        here.daemon.kill()
        here.daemon.spawn()
        here.runs()
        status = here.daemon.status()
        assert total(status, "pending") == len(here.acknowledged)
        assert unbalanced(status) == []
        here.upstream.down = False
        here.check()
        until(here.accepts, "it accepts again")


def test_a_full_disk_is_no_obstacle_to_a_start_while_there_is_the_ballast(tmp_path):
    with site(tmp_path) as here:
        for _ in range(20):
            assert here.post(100_000).status == 202
        assert here.daemon.stop() == 0
        here.disk.fill()
        here.daemon.spawn()
        here.runs()
        here.refused()
        here.upstream.down = False
        here.check()
        here.disk.clear()
        until(here.accepts, "it accepts again")


READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
print(connection.execute("SELECT count(*) FROM chunk").fetchone()[0], flush=True)
sys.stdin.read()
"""
"""Stands still on what it saw first, until its input ends."""


@contextmanager
def reader(here: Site) -> Iterator[None]:
    """A reader of another process, while the context lasts."""
    command = [*here.disk.enter, sys.executable, "-c", READER, here.disk.mount_point / "state/spool.db"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert int(process.stdout.readline()) > 0
        yield
    finally:
        process.communicate()


@pytest.mark.parametrize("others", [False, True], ids=["alone", "others take what is left"])
def test_a_reader_that_stands_still_costs_nothing(tmp_path, others):
    with site(tmp_path) as here:
        for _ in range(20):
            assert here.post(300_000).status == 202
        with reader(here):
            here.post_until_refused(300_000)
            if others:
                here.disk.fill()
            here.refused()
            here.upstream.down = False
            until(lambda: total(here.daemon.status(), "delivered"), "some of it goes out all the same")
            here.refused()
            assert unbalanced(here.daemon.status()) == []
        here.check()
        until(here.accepts, "it accepts again")
        here.check()


def test_a_drained_backlogs_space_goes_back_to_the_file_system_within_a_minute(tmp_path):
    with site(tmp_path) as here:
        for _ in range(75):
            assert here.post(300_000).status == 202
        full = here.disk.free
        here.upstream.down = False
        here.check()

        def given_back() -> bool:
            used = sum(file.stat().st_size for file in here.state.glob("spool.db*"))
            return used < 10 * MIB and here.disk.free > full + 5 * MIB

        until(given_back, "the files are small again", within=60)
