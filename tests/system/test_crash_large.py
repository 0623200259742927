"""Large batches, made in parts, under SIGKILL: each arrives as it was sealed, and is known again."""

from __future__ import annotations

import threading
import time

import pytest
from fakes.configs import KEY, KEY_FILE, KEY_ID, SIGNED
from fakes.daemon import LISTENERS, PATIENCE, Client, total, unbalanced
from fakes.delivery import Sent, arrivals, batch_range, delivery_faults, repeat_faults, whole
from fakes.load import drawn_seed, seeded
from fakes.upstream import Upstream

REQUESTS, EVENTS = 100, 1_000
LARGE = 10_000
"""Events; some 2 MB as text, so that it came in parts."""

CONFIG = f"""{LISTENERS}{SIGNED}
backoff = {{ initial = "20ms", max = "200ms" }}
MORE

[log]
level = "error"
"""


class StoppingUpstream(Upstream):
    """One that says when a large batch came, and answers it when it is told to.

    Attributes:
        large: set when one came.
        go: to be set where it is to be answered.
    """

    def __init__(self) -> None:
        super().__init__(keys={KEY_ID: KEY})
        self.large = threading.Event()
        self.go = threading.Event()

    def judge(self, request, behaviour):
        judged = super().judge(request, behaviour)
        _, first, last = batch_range(request)
        if last - first >= LARGE and not self.go.is_set():
            self.large.set()
            self.go.wait(PATIENCE)
        return judged


def accept_all(daemon):
    """Post all events; each as it was sent."""
    sent = [
        Sent(f'{{"timestamp":1,"sourceId":"till","eventName":"sold","n":{n},"k":"{n * 7919:x}"}}', "till", n)
        for n in range(REQUESTS * EVENTS)
    ]
    headers = {"Content-Type": "application/json"}
    with Client(daemon.socket) as client:
        for first in range(0, len(sent), EVENTS):
            body = "[" + ",".join(event.text for event in sent[first : first + EVENTS]) + "]"
            assert client.ask("POST", "/v1/events", body.encode(), headers).status == 202
    return sent


def kill_on_the_way(daemon, upstream, config, chance):
    """Kill where the upstream has a large batch whole, then at any moment; each start makes it otherwise."""
    for more in ("max_events = 5_000", "compress = false", "max_batch_bytes = '1MiB'", ""):
        assert upstream.large.wait(PATIENCE), "a large batch came"
        # The one behind it is drawn in parts meanwhile.
        time.sleep(chance.uniform(0.0, 0.2))
        daemon.kill()
        upstream.large.clear()
        daemon.configure(config.replace("MORE", more))
        daemon.start()
    upstream.go.set()
    for _ in range(3):
        time.sleep(chance.uniform(0.0, 0.5))
        daemon.kill()
        daemon.start()


@pytest.mark.system
def test_kills_while_large_batches_are_on_the_way_lose_alter_and_reorder_nothing(make_daemon):
    seed = drawn_seed("CRASH_SEED")
    with StoppingUpstream() as upstream:
        config = CONFIG.replace("URL", upstream.url)
        daemon = make_daemon(config.replace("MORE", ""))
        daemon.secret(KEY_FILE, KEY)
        daemon.start()
        assert daemon.run("upstream", "pause", "samsara").returncode == 0
        sent = accept_all(daemon)
        assert daemon.run("upstream", "resume", "samsara").returncode == 0
        kill_on_the_way(daemon, upstream, config, seeded(seed, "kills"))
        status = daemon.forwarded(within=120)
        assert daemon.stop() == 0

    (arrived,) = arrivals(upstream).values()
    assert delivery_faults(sent, sent, arrived) == []
    assert total(status, "accepted") == total(status, "delivered") == len(sent)
    assert unbalanced(status) == []
    batches = whole(upstream.received)
    assert repeat_faults(batches) == []
    assert [problem for batch in batches for problem in batch.problems] == []
    assert upstream.book.problems == []
    assert all(repeat.recognised for repeat in upstream.book.repeats)
