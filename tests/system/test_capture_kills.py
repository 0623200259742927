"""Every way in which an upstream can fail, while the daemon is killed again and again."""

from __future__ import annotations

import json
import os
import secrets
import time
from contextlib import ExitStack

import pytest
from fakes.capture import ANSWER, LOGIN, LOST, PORTAL, STATUSES, Capture
from fakes.daemon import LISTENERS, total, unbalanced, until
from fakes.delivery import arrivals, bare, repeat_faults, whole
from fakes.load import App, seeded
from fakes.upstream import Behaviour

KEY = b"a key of thirty-two bytes or more"
LARGEST = 6000
POISON_EVERY, POISON = 40, 7

CONFIG = f"""{LISTENERS}
[[upstream]]
name = "samsara"
kind = "samsara"
url = "URL"
signing = "rfc9421"
key_id = "kiosk-17"
secret_file = "hmac.secret"
max_events = 200
backoff = {{ initial = "10ms", max = "100ms" }}
timeouts = {{ read = "1s", total = "2s" }}

[log]
level = "error"
"""


def is_poison(event):
    return event["n"] % POISON_EVERY == POISON


class Moody(Capture):
    """Fails about every other time, in any way, until it is calmed; size and poison it never bears."""

    largest = LARGEST
    is_poison = staticmethod(is_poison)
    moody = True

    def __init__(self, chance):
        super().__init__(keys={"kiosk-17": KEY})
        self._chance = chance

    def next_behaviour(self):
        with self.lock:
            self.names = self._chance.random() < 0.5
            return self._mood() if self.moody and self._chance.random() < 0.5 else Behaviour()

    def _mood(self):
        chance = self._chance
        return chance.choice(
            [
                Behaviour(cut=chance.randrange(len(ANSWER) + 1)),
                Behaviour(status=chance.choice(STATUSES), body=b'{"status":"ERROR"}'),
                Behaviour(reset=True, cut=chance.randrange(len(ANSWER) + 1)),
                Behaviour(reset=True),
                Behaviour(delay=0.02),
                Behaviour(drip=0.0005),
                Behaviour(status=503, headers={"Retry-After": "0"}),
                chance.choice([LOST, PORTAL, LOGIN]),
            ]
        )


def run_and_kill(daemon, upstream, seed, *, kills):
    """Load and kills, and then peace; the apps, and the status at the end."""
    chance = seeded(seed, "kills")
    ports = daemon.start().ports()
    with ExitStack() as stack:
        apps = [
            stack.enter_context(App(lambda: ports[0], f"app-{n}", chance=seeded(seed, n))) for n in range(2)
        ]
        for _ in range(kills):
            time.sleep(chance.uniform(0.05, 0.8))
            daemon.kill()
            ports[:] = daemon.start().ports()
        goals = [(app, len(app.acknowledged) + 50) for app in apps]
        until(lambda: all(len(app.acknowledged) > goal for app, goal in goals), "all apps are served")
    upstream.moody = False
    status = daemon.forwarded(within=120)
    assert daemon.stop() == 0
    return apps, status


def check(apps, status, upstream):
    """Every acknowledged event arrived once and in order, or is a dead letter for what it is."""
    (taken,) = arrivals(upstream).values()
    assert list(taken) == sorted(taken)
    arrived = [bare(event) for event in taken.values()]
    assert len(arrived) == len(set(arrived))
    assert not any(is_poison(json.loads(event)) for event in arrived)
    sent = {event.text for app in apps for event in app.sent}
    assert set(arrived) <= sent
    for app in apps:
        numbers = [json.loads(text)["n"] for text in arrived if f'"{app.name}"' in text]
        assert numbers == sorted(numbers)
        kept = [event.text for event in app.acknowledged if not is_poison(json.loads(event.text))]
        assert set(kept) <= set(arrived)
    assert unbalanced(status) == []
    assert total(status, "delivered") == len(arrived)
    dead = total(status, "dead")
    assert total(status, "accepted") == len(arrived) + dead
    poison = sum(is_poison(json.loads(event.text)) for app in apps for event in app.acknowledged)
    attempted = sum(is_poison(json.loads(event.text)) for app in apps for event in app.sent)
    assert poison <= dead <= attempted
    assert upstream.book.problems == []
    # After a split the same positions come under other keys.
    faults = repeat_faults(whole(upstream.received))
    assert [fault for fault in faults if "came under" not in fault] == []
    print(f"{len(arrived)} arrived, {dead} dead, in {len(upstream.received)} requests")  # noqa: T201


@pytest.mark.system
@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=pytest.mark.soak)])
def test_kills_at_random_while_the_upstream_fails_in_every_way(make_daemon, kills):
    seed = os.environ.get("CRASH_SEED") or secrets.token_hex(4)
    print(f"CRASH_SEED={seed} gives the same moments again")  # noqa: T201
    with Moody(seeded(seed, "upstream")) as upstream:
        daemon = make_daemon(CONFIG.replace("URL", upstream.url))
        daemon.secret("hmac.secret", KEY)
        apps, status = run_and_kill(daemon, upstream, seed, kills=kills)
    check(apps, status, upstream)
    assert KEY.decode() not in daemon.log() + json.dumps(status)
    for file in daemon.state_dir.rglob("*"):
        assert not file.is_file() or KEY not in file.read_bytes()
