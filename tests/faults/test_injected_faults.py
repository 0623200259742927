"""The disk refuses one call, or all from one on: nothing acknowledged is lost, and the daemon goes on."""

from __future__ import annotations

import http.client
import json
import re
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.configs import FILE, UNSIGNED
from fakes.daemon import LISTENERS, Daemon, total, unbalanced, until
from fakes.delivery import Sent, arrivals, delivery_faults, in_files, repeat_faults, whole
from fakes.injection import Fault, Injected, impossible, starting, was_hit
from fakes.load import drawn_seed, padded, post, seeded
from fakes.upstream import Upstream

from collector.errors import SpoolDamaged, SpoolUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random  # noqa: TID251 - seeded

    from fakes.daemon import Reply

CONFIG = f"""{LISTENERS}{UNSIGNED}
backoff = {{ initial = "20ms", max = "200ms" }}
{FILE}
backoff = {{ initial = "20ms", max = "200ms" }}

[log]
level = "error"
"""
WAYSTATION = Path(sys.executable).with_name("waystation")

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("_strace")]


@pytest.fixture(scope="module")
def _strace() -> None:
    if reason := impossible():
        pytest.skip(f"no call can be made to fail here: {reason}")


@pytest.fixture
def chance() -> Random:
    return seeded(drawn_seed("FAULT_SEED"))


@dataclass
class Site:
    """A daemon, and one app that posts a request when it is told to."""

    daemon: Daemon
    upstream: Upstream
    sent: list[Sent] = field(default_factory=list)
    acknowledged: list[Sent] = field(default_factory=list)

    def post(self) -> Reply:
        """Post three events; the answer is success, or says when to come again."""
        events = padded(len(self.sent), 3, size=0)
        self.sent += events
        reply = post(self.daemon.socket, events)
        if reply.status == 202:
            self.acknowledged += events
        else:
            assert reply.status == 503, reply
            assert int(reply.headers["retry-after"]) > 0
            assert json.loads(reply.body)["status"] == "ERROR"
        return reply

    def restart(self) -> None:
        """Kill it, start it with a good disk, and see that all is there and goes out."""
        self.daemon.kill()
        self.daemon.start()
        self.check()

    def check(self) -> None:
        status = self.daemon.forwarded()
        assert unbalanced(status) == []
        taken = arrivals(self.upstream)
        assert len(taken) <= 1, "one lane, and one epoch"
        arrived = next(iter(taken.values()), {})
        assert delivery_faults(self.sent, self.acknowledged, arrived) == []
        assert repeat_faults(whole(self.upstream.received)) == []
        assert self.upstream.book.problems == []
        assert total(status, "accepted", lane="samsara") == len(arrived)
        assert total(status, "delivered", lane="samsara") == len(arrived)
        assert len(in_files(self.daemon.state_dir / "events").get("samsara", {})) == len(arrived)
        assert "Traceback" not in self.daemon.log()


@contextmanager
def site(home: Path) -> Iterator[Site]:
    runtime = home / "run"
    runtime.mkdir(parents=True, mode=0o700)
    with ExitStack() as stack:
        upstream = stack.enter_context(Upstream())
        daemon = Daemon(WAYSTATION, home, runtime, CONFIG.replace("URL", upstream.url))
        stack.callback(lambda: print(daemon.log()))  # noqa: T201 - pytest shows it where a test failed
        stack.callback(daemon.close)
        yield Site(daemon, upstream)


def ready(daemon: Daemon) -> int:
    """The status of /readyz, 0 where nothing answers."""
    try:
        return daemon.ask("/readyz").status
    except (OSError, http.client.HTTPException):
        return 0


def drained(daemon: Daemon) -> bool:
    """Whether nothing is pending; where it cannot be told, not yet."""
    reply = daemon.ask("/v1/status")
    assert reply.status in {200, 503}, reply
    return reply.status == 200 and all(
        lane["pending_events"] == 0 for lane in json.loads(reply.body)["lanes"]
    )


def fail_once(here: Site, fault: Fault, log: Path, *, recover: bool) -> bool:
    """Fail one call in a request's life, from its coming in to its settling.

    Args:
        recover: whether the daemon goes on until all is well again, before it is killed.

    Returns:
        False where there was no such call.
    """
    with Injected(fault, here.daemon.pid, log) as injected:
        reply = here.post()
        until(lambda: injected.hit or drained(here.daemon), f"{fault} is met, or the request is settled")
        assert reply.status == 202 or injected.hit
        if recover:
            until(lambda: reply.status == 202 or here.post().status == 202, "it accepts again")
            until(lambda: drained(here.daemon), "all is settled")
    here.restart()
    return injected.hit


@pytest.mark.parametrize(
    ("call", "error", "step"), [("fdatasync", "EIO", 1), ("fsync", "EIO", 1), ("pwrite64", "ENOSPC", 10)]
)
def test_a_request_outlives_the_failure_of_each_single_call(tmp_path, chance, call, error, step):
    with site(tmp_path / "home") as here:
        here.daemon.start()
        met = 0
        for nth in range(chance.randint(1, step), 100, step):
            fault = Fault(call, error, nth)
            if not fail_once(here, fault, tmp_path / f"{nth}.strace", recover=chance.random() < 0.5):
                break
            met += 1
    print(f"{met} calls failed; {len(here.sent)} events sent, {len(here.acknowledged)} acknowledged")  # noqa: T201
    assert met > 0


@pytest.mark.soak
@pytest.mark.parametrize("recover", [True, False])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EDQUOT"])
@pytest.mark.parametrize("call", ["fdatasync", "fsync", "ftruncate", "pwrite64"])
def test_a_request_outlives_the_failure_of_every_call(tmp_path, call, error, recover):
    with site(tmp_path / "home") as here:
        here.daemon.start()
        for nth in range(1, 100):
            if not fail_once(here, Fault(call, error, nth), tmp_path / f"{nth}.strace", recover=recover):
                break


def fail_one_read(tmp_path: Path, nth: int) -> bool:
    """Fail one read while requests come; False where so many were not made.

    SQLite takes EIO of a read for damage, which ends the daemon: its next start finds that all is sound.
    """
    with site(tmp_path / str(nth)) as here:
        here.daemon.start()
        log = tmp_path / f"{nth}.strace"
        with Injected(Fault("pread64", "EIO", nth), here.daemon.pid, log) as injected:
            try:
                for _ in range(nth + 5):
                    here.post()
                    until(lambda: injected.hit or drained(here.daemon), "the request is settled")
            except (OSError, http.client.HTTPException):
                until(lambda: injected.hit, "a read has failed")
        if injected.hit and not ready(here.daemon):
            assert here.daemon.wait() == SpoolDamaged.exit_code
            here.daemon.start()
        here.check()
        here.restart()
    return injected.hit


def test_a_read_that_fails_once_costs_nothing(tmp_path, chance):
    assert fail_one_read(tmp_path, chance.randint(1, 3))


@pytest.mark.soak
def test_every_read_that_fails_once_costs_nothing(tmp_path):
    assert [nth for nth in range(1, 40) if not fail_one_read(tmp_path, nth)] == []


@pytest.mark.parametrize(("call", "error", "last"), [("fdatasync", "EIO", 4), ("pwrite64", "ENOSPC", 40)])
def test_while_every_call_fails_nothing_is_accepted_and_then_all_is_well(tmp_path, chance, call, error, last):
    fault = Fault(call, error, chance.choice((1, chance.randint(2, last))), lasting=True)
    with site(tmp_path / "home") as here:
        here.daemon.start()
        with Injected(fault, here.daemon.pid, tmp_path / "strace") as injected:
            until(lambda: here.post().status == 503, f"{fault} is met")
            assert injected.hit
            assert [here.post().status for _ in range(3)] == [503] * 3
            assert ready(here.daemon) == 503
        until(lambda: here.post().status == 202, "it accepts again")
        assert ready(here.daemon) == 200
        here.check()
        here.restart()


def fail_start(here: Site, fault: Fault, log: Path) -> bool:
    """Fail one call of a start; False where there was no such call.

    It starts all the same, or ends with one line that names the disk.
    """
    before = len(here.daemon.log())
    here.daemon.command = starting(WAYSTATION, fault, log.with_suffix(".sh"), log)
    process = here.daemon.spawn()
    until(lambda: process.poll() is not None or ready(here.daemon) == 200, "it is ready, or ends")
    if process.poll() is None:
        here.daemon.kill()
    else:
        assert here.daemon.wait() == SpoolUnavailable.exit_code, f"{fault}: {here.daemon.log()[before:]}"
        told = here.daemon.log()[before:]
        assert re.fullmatch(r"waystation: the spool cannot .*[\w)]\n", told), told
    here.daemon.command = WAYSTATION
    return was_hit(log)


def fail_first_start(tmp_path: Path, fault: Fault) -> bool:
    name = str(fault).replace(" ", "-")
    with site(tmp_path / name) as here:
        hit = fail_start(here, fault, tmp_path / f"{name}.strace")
        here.daemon.start()
        assert here.post().status == 202
        here.check()
    return hit


def fail_later_start(here: Site, tmp_path: Path, fault: Fault) -> bool:
    """As above, where a daemon that was killed has left its log behind."""
    assert here.post().status == 202
    here.daemon.kill()
    hit = fail_start(here, fault, tmp_path / f"{fault}.strace".replace(" ", "-"))
    here.daemon.start()
    here.check()
    return hit


CALLS_OF_A_START = {"fdatasync": ("EIO", 6), "ftruncate": ("EIO", 3), "pwrite64": ("ENOSPC", 24)}
"""What a start calls, and about how often: a killed daemon leaves more or less to do."""


def some_call_of_a_start(chance: Random, fail: Callable[[Fault], bool]) -> None:
    """Fail one of each of the calls; an earlier one where this start made fewer of them."""
    for call, (error, calls) in CALLS_OF_A_START.items():
        nth = chance.randint(1, calls)
        while not fail(Fault(call, error, nth)):
            assert nth > 1, f"a start makes no {call}"
            nth = chance.randint(1, nth - 1)


def test_a_first_start_that_fails_at_any_call_harms_no_later_one(tmp_path, chance):
    some_call_of_a_start(chance, partial(fail_first_start, tmp_path))


def test_a_start_that_fails_at_any_call_loses_nothing(tmp_path, chance):
    with site(tmp_path / "home") as here:
        here.daemon.start()
        some_call_of_a_start(chance, partial(fail_later_start, here, tmp_path))


def test_a_full_disk_that_takes_no_process_id_keeps_no_daemon_from_starting(tmp_path):
    with site(tmp_path / "home") as here:
        here.daemon.start()
        assert fail_later_start(here, tmp_path, Fault("pwrite64", "ENOSPC", 1))


@pytest.mark.soak
@pytest.mark.parametrize("call", [*CALLS_OF_A_START, "fsync"])
def test_every_start_that_fails_loses_nothing(tmp_path, call):
    with site(tmp_path / "home") as here:
        here.daemon.start()
        nth = 1
        while fail_later_start(here, tmp_path, Fault(call, "EIO", nth)):
            nth += 1
    nth = 1
    while fail_first_start(tmp_path, Fault(call, "EIO", nth)):
        nth += 1
