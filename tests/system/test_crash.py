"""The promises under SIGKILL: what was acknowledged arrives, as it was, in order, and known again."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager

import pytest
from fakes.configs import FILE, KEY, KEY_FILE, KEY_ID, SIGNED
from fakes.daemon import LISTENERS, total, unbalanced, until
from fakes.delivery import arrivals, bare, delivery_faults, in_files, repeat_faults, whole
from fakes.documents import TRAINTRACKS_PRODUCT
from fakes.load import App, drawn_seed, seeded
from fakes.upstream import Behaviour, Upstream

KILLS = 10
PRODUCT = (TRAINTRACKS_PRODUCT, "s3cret")

CONFIG = f"""{LISTENERS}
[[product]]
key = "{PRODUCT[0]}"
secret_env = "PRODUCT_SECRET"
{SIGNED}
backoff = {{ initial = "20ms", max = "200ms" }}

[[upstream]]
name = "traintracks"
kind = "traintracks"
url = "URL"
backoff = {{ initial = "20ms", max = "200ms" }}
{FILE}

[log]
level = "error"
"""

GOOD = Behaviour()
MOODS = (
    (60, GOOD),
    (10, Behaviour(delay=0.05)),
    (5, Behaviour(status=500)),
    (5, Behaviour(status=503)),
    (5, Behaviour(status=429)),
    (5, Behaviour(cut="answer")),  # taken, and the answer lost
    (3, Behaviour(cut="status-line")),
    (3, Behaviour(cut="headers")),
    (4, Behaviour(status=503, cut="body")),
)


class MoodyUpstream(Upstream):
    """An upstream that fails now and then, until it is calmed."""

    def __init__(self, chance) -> None:
        super().__init__(keys={KEY_ID: KEY}, products=dict([PRODUCT]))
        self.moody = True
        self._chance = chance

    def next_behaviour(self):
        with self.lock:
            (mood,) = self._chance.choices([mood for _, mood in MOODS], [share for share, _ in MOODS])
        return mood if self.moody else GOOD


@contextmanager
def apps_on(daemon, ports, seed):
    """Apps of both dialects on both listeners, two of each."""
    places = {"tcp": lambda: ports[0], "unix": lambda: daemon.socket}
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                App(
                    places[place],
                    name,
                    product=PRODUCT if dialect == "traintracks" else None,
                    chance=seeded(seed, name),
                )
            )
            for dialect in ("samsara", "traintracks")
            for place in places
            for name in (f"{dialect}-{place}-1", f"{dialect}-{place}-2")
        ]


def kill_again_and_again(daemon, ports, chance):
    for kill in range(KILLS):
        time.sleep(chance.uniform(0.05, 1.2))
        daemon.kill()
        if kill % 3 == 2:  # and once more, while it recovers
            daemon.spawn()
            time.sleep(chance.uniform(0.0, 0.5))
            daemon.kill()
        ports[:] = daemon.start().ports()


@pytest.mark.system
def test_ten_kills_under_load_lose_alter_and_reorder_nothing(make_daemon):
    seed = drawn_seed("CRASH_SEED")
    with MoodyUpstream(seeded(seed, "upstream")) as upstream:
        daemon = make_daemon(CONFIG.replace("URL", upstream.url), PRODUCT_SECRET=PRODUCT[1])
        daemon.secret(KEY_FILE, KEY)
        ports = daemon.start().ports()
        with apps_on(daemon, ports, seed) as apps:
            kill_again_and_again(daemon, ports, seeded(seed, "kills"))
            goals = [(app, len(app.acknowledged) + 50) for app in apps]
            until(
                lambda: all(len(app.acknowledged) > goal for app, goal in goals),
                "all apps are served after the last start",
            )
        upstream.moody = False
        status = daemon.forwarded(within=120)
        assert daemon.stop() == 0

    taken, written = arrivals(upstream), in_files(daemon.state_dir / "events")
    assert len(taken) == 2, "one epoch throughout"
    for dialect, stream in (("samsara", "samsara"), ("traintracks", f"traintracks/{PRODUCT[0]}")):
        sent = [event for app in apps if app.name.startswith(dialect) for event in app.sent]
        acknowledged = [event for app in apps if app.name.startswith(dialect) for event in app.acknowledged]
        arrived = taken[f"{dialect}/{stream} {status['epoch']}"]
        assert delivery_faults(sent, acknowledged, arrived) == []
        # Each lane says for itself which events come late; all else is the same.
        assert list(map(bare, written[dialect].values())) == list(map(bare, arrived.values()))
        assert list(written[dialect]) == list(arrived)
        print(f"{dialect}: {len(sent)} sent, {len(acknowledged)} acknowledged, {len(arrived)} arrived")  # noqa: T201
        for lane in (f"{dialect}/{stream}", f"file/{stream}"):
            assert total(status, "accepted", lane=lane) == len(arrived)
            assert total(status, "delivered", lane=lane) == len(arrived)
        assert sum(row["events"] for row in status["received"] if row["dialect"] == dialect) == len(arrived)
    assert unbalanced(status) == []
    batches = whole(upstream.received)
    print(f"{len(batches)} requests of {len({batch.header('Idempotency-Key') for batch in batches})} batches")  # noqa: T201
    assert repeat_faults(batches) == []
    assert [problem for batch in batches for problem in batch.problems] == []
    assert upstream.book.problems == []
    assert [reply for app in apps for reply in app.refusals] == []
