"""Every way in which an upstream can fail, while the daemon is killed again and again."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack

import pytest
from fakes.capture import ANSWER, FORM, LOGIN, LOST, PORTAL, STATUSES, Capture
from fakes.certificates import Authority
from fakes.configs import KEY, KEY_FILE, KEY_ID, SIGNED
from fakes.daemon import LISTENERS, total, unbalanced, until
from fakes.delivery import arrivals, bare, repeat_faults, whole
from fakes.load import App, drawn_seed, seeded
from fakes.upstream import Behaviour

LARGEST = 6000
POISON_EVERY, POISON = 40, 7
PAGE = {"Content-Type": "text/html"}

CONFIG = f"""{LISTENERS}{SIGNED}
max_events = 200
backoff = {{ initial = "10ms", max = "100ms" }}
timeouts = {{ read = "500ms", total = "1s" }}
TRUST

[log]
level = "error"
"""

MOODS = {
    "cut at a byte": lambda chance: Behaviour(cut=chance.randrange(len(ANSWER) + 1)),
    "a status": lambda chance: Behaviour(status=chance.choice(STATUSES), body=b'{"status":"ERROR"}'),
    "a status as a page": lambda chance: Behaviour(status=chance.choice(STATUSES), headers=PAGE, body=FORM),
    "a page": lambda _: Behaviour(status=202, headers=PAGE, body=b"<!DOCTYPE html><p>OK"),
    "a portal": lambda _: PORTAL,
    "a login": lambda _: LOGIN,
    "lost": lambda _: LOST,
    "reset": lambda _: Behaviour(reset=True),
    "reset in the answer": lambda chance: Behaviour(reset=True, cut=chance.randrange(1, len(ANSWER))),
    "not now": lambda _: Behaviour(status=503, headers={"Retry-After": "0"}),
    "slow": lambda _: Behaviour(delay=0.02),
    "a slow drip": lambda _: Behaviour(drip=0.0005),
    "an endless drip": lambda _: Behaviour(trickle=True),
    "silence": lambda _: Behaviour(hold=True),
    # A success that comes before the body was read would be one all the same, once a small body was sent.
    "too early": lambda _: Behaviour(unread=True, status=503),
}


def is_poison(event):
    return event["n"] % POISON_EVERY == POISON


class Moody(Capture):
    """Fails about every other time, in each way in turn, until it is calmed; size and poison it never bears.

    Attributes:
        shown: the ways that were.
    """

    largest = LARGEST
    is_poison = staticmethod(is_poison)
    moody = True

    def __init__(self, chance, tls=None):
        super().__init__(keys={KEY_ID: KEY}, tls=tls)
        self._chance = chance
        self._deck = []
        self.shown = set()

    def next_behaviour(self):
        with self.lock:
            self.names = self._chance.random() < 0.5
            if not self.moody or self._chance.random() < 0.5:
                return Behaviour()
            if not self._deck:
                self._deck = self._chance.sample(list(MOODS), len(MOODS))
            mood = self._deck.pop()
            self.shown.add(mood)
            return MOODS[mood](self._chance)


class Outages:
    """Takes an upstream out of reach for a while: connections are refused, or by TLS there is no trust."""

    def __init__(self, upstream, stranger):
        self._upstream = upstream
        self._own = upstream.tls
        self._stranger = stranger

    def begin(self, chance):
        if self._stranger is not None and chance.random() < 0.5:
            self._upstream.tls = self._stranger
            self._upstream.hang_up()
        else:
            self._upstream.refuse()
            return self._upstream.listen
        return self._trust

    def _trust(self):
        self._upstream.tls = self._own
        self._upstream.hang_up()


def run_and_kill(daemon, upstream, outages, seed, *, kills):
    """Load, outages and kills, and then peace; the apps, and the status at the end."""
    chance = seeded(seed, "kills")
    ports = daemon.start().ports()
    with ExitStack() as stack:
        apps = [
            stack.enter_context(App(lambda: ports[0], f"app-{n}", chance=seeded(seed, n))) for n in range(2)
        ]
        for _ in range(kills):
            time.sleep(chance.uniform(0.05, 0.8))
            over = outages.begin(chance) if chance.random() < 0.6 else None
            if over is not None:
                time.sleep(chance.uniform(0.0, 0.3))
            acknowledged = sum(len(app.acknowledged) for app in apps)
            daemon.kill()
            ports[:] = daemon.start().ports()
            check_ledger(daemon.status(), upstream, acknowledged)
            if over is not None:
                over()
        goals = [(app, len(app.acknowledged) + 50) for app in apps]
        until(lambda: all(len(app.acknowledged) > goal for app, goal in goals), "all apps are served")
        until(lambda: upstream.shown == set(MOODS), "it failed in each way", within=120)
    upstream.moody = False
    status = daemon.forwarded(within=120)
    assert daemon.stop() == 0
    return apps, status


def check_ledger(status, upstream, acknowledged):
    """After a kill the ledger adds up, has all that was acknowledged, and no delivery that was none."""
    assert unbalanced(status) == []
    assert total(status, "accepted") >= acknowledged
    with upstream.lock:
        taken = sum(map(len, upstream.book.taken.values()))
    assert total(status, "delivered") <= taken


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
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=pytest.mark.soak)])
def test_kills_at_random_while_the_upstream_fails_in_every_way(make_daemon, tmp_path, kills, tls):
    seed = drawn_seed("CRASH_SEED")
    authority = Authority(tmp_path)
    own = authority.server() if tls else None
    stranger = Authority(tmp_path, "stranger").server() if tls else None
    with Moody(seeded(seed, "upstream"), own) as upstream:
        trust = f'ca_file = "{authority.file}"' if tls else ""
        daemon = make_daemon(CONFIG.replace("URL", upstream.url).replace("TRUST", trust))
        daemon.secret(KEY_FILE, KEY)
        apps, status = run_and_kill(daemon, upstream, Outages(upstream, stranger), seed, kills=kills)
    check(apps, status, upstream)
    assert KEY.decode() not in daemon.log() + json.dumps(status)
    for file in daemon.state_dir.rglob("*"):
        assert not file.is_file() or KEY not in file.read_bytes()
