"""The power is cut, on a real file system, under the real daemon: nothing acknowledged is lost."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.configs import FILE, UNSIGNED
from fakes.cut_filesystem import CutFilesystem
from fakes.daemon import LISTENERS, Daemon, total, unbalanced, until
from fakes.delivery import arrivals, bare, delivery_faults, in_files, repeat_faults, whole
from fakes.documents import TRAINTRACKS_PRODUCT
from fakes.load import App, drawn_seed, seeded
from fakes.mount_namespace import Impossible
from fakes.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random  # noqa: TID251 - seeded

    from fakes.delivery import Sent

CUTS = 10
APPS = 4
"""Of each dialect."""

PRODUCT = (TRAINTRACKS_PRODUCT, "s3cret")

CONFIG = f"""
state_dir = "$home/disk/state"
{LISTENERS}
[spool]
durability = "DURABILITY"

[[product]]
key = "{PRODUCT[0]}"
secret_env = "PRODUCT_SECRET"
{UNSIGNED}
backoff = {{ initial = "20ms", max = "200ms" }}
{FILE}

[log]
level = "error"
"""


@pytest.fixture
def chance() -> Random:
    return seeded(drawn_seed("CUT_SEED"))


@dataclass
class Site:
    """The daemon on a file system whose power can be cut, with its apps and upstream."""

    daemon: Daemon
    disk: CutFilesystem
    upstream: Outage
    apps: list[App]

    def of(self, kind: str, dialect: str) -> list[Sent]:
        """All events of a dialect that were `sent`, or `acknowledged`."""
        apps = [app for app in self.apps if app.name.startswith(dialect)]
        return [event for app in apps for event in getattr(app, kind)]

    def acknowledged(self) -> int:
        return sum(len(app.acknowledged) for app in self.apps)

    def cut(self, chance: Random) -> int:
        """Cut the power at some moment; how many events too few the next start knows of, at the least."""
        self.upstream.down = chance.random() < 0.5
        served = self.acknowledged()
        until(lambda: self.acknowledged() > served + 100, "the apps are served")
        time.sleep(chance.uniform(0.0, 0.5))
        # The processor stops with the power. Did it go on, it would act on a sync that was under way and
        # lies: an upstream would get a batch that the disk does not remember.
        self.daemon.freeze()
        self.disk.cut()
        self.daemon.kill()
        self.disk.power_up()
        promised = self.acknowledged()
        status = self.daemon.start().status()
        assert unbalanced(status) == []
        return promised - sum(row["events"] for row in status["received"])

    def empty(self) -> dict[str, Any]:
        """Let all of it out, and stop; the status before that."""
        for app in self.apps:
            app.stop()
        for app in self.apps:
            app.join()
        self.upstream.down = False
        status = self.daemon.forwarded()
        assert self.daemon.stop() == 0
        return status


@contextmanager
def site(tmp_path: Path, chance: Random, *, durability: str) -> Iterator[Site]:
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(CutFilesystem(tmp_path))
        except Impossible as error:
            pytest.skip(f"no power can be cut here: {error}")
        upstream = stack.enter_context(Outage())
        runtime = tmp_path / "run"
        runtime.mkdir(mode=0o700)
        command = disk.command(Path(sys.executable).with_name("waystation"), tmp_path)
        config = CONFIG.replace("URL", upstream.url).replace("DURABILITY", durability)
        daemon = Daemon(command, tmp_path, runtime, config, {"PRODUCT_SECRET": PRODUCT[1]})
        stack.callback(lambda: print(daemon.log()))  # noqa: T201 - pytest shows it where a test failed
        stack.callback(daemon.close)
        daemon.start()
        apps = [
            App(lambda: daemon.socket, f"{dialect}-{number}", product=product, chance=seeded(chance.random()))
            for dialect, product in (("samsara", None), ("traintracks", PRODUCT))
            for number in range(APPS)
        ]
        for app in apps:
            stack.enter_context(app)
        yield Site(daemon, disk, upstream, apps)


@pytest.mark.system
def test_ten_power_cuts_under_load_lose_alter_and_reorder_nothing(tmp_path, chance):
    with site(tmp_path, chance, durability="full") as here:
        for _ in range(CUTS):
            assert here.cut(chance) <= 0
        status = here.empty()
        written = in_files(here.disk.seen_from_outside / "state/events")
    for dialect, arrived in written.items():
        sent, acknowledged = here.of("sent", dialect), here.of("acknowledged", dialect)
        print(f"{dialect}: {len(sent)} sent, {len(acknowledged)} acknowledged, {len(arrived)} arrived")  # noqa: T201
        assert len(acknowledged) > CUTS * 30
        assert delivery_faults(sent, acknowledged, arrived) == []
        assert total(status, "delivered", lane=f"file/{dialect}") == len(arrived)
    assert unbalanced(status) == []
    # What had left the device before a cut came again as it was, and under the same name.
    (upstream,) = arrivals(here.upstream).values()
    assert list(map(bare, upstream.values())) == list(map(bare, written["samsara"].values()))
    assert list(upstream) == list(written["samsara"])
    assert repeat_faults(whole(here.upstream.received)) == []
    assert here.upstream.book.problems == []


@pytest.mark.system
def test_the_same_cuts_lose_events_where_durability_is_normal(tmp_path, chance):
    with site(tmp_path, chance, durability="normal") as here:
        lost = any(here.cut(chance) > 0 for _ in range(CUTS))
    assert lost, "these cuts cannot tell a file system that was synced from one that was not"
