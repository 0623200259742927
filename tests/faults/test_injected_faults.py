"""The disk refuses one call, or all from one on: nothing acknowledged is lost, and the daemon goes on."""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.daemon import LISTENERS, Client, Daemon, total, unbalanced, until
from fakes.delivery import Sent, arrivals, delivery_faults, in_files, repeat_faults, whole
from fakes.injection import Fault, Injected, impossible, starting, was_hit
from fakes.load import seeded
from fakes.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random  # noqa: TID251 - seeded

    from fakes.daemon import Reply

CONFIG = f"""{LISTENERS}
[[upstream]]
name = "samsara"
kind = "samsara"
url = "URL"
signing = "none"
backoff = {{ initial = "20ms", max = "200ms" }}

[[upstream]]
name = "file"
kind = "file"
backoff = {{ initial = "20ms", max = "200ms" }}

[log]
level = "error"
"""
WAYSTATION = Path(sys.executable).with_name("waystation")

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(reason := impossible(), reason=f"no call can be made to fail here: {reason}"),
]


@pytest.fixture
def chance() -> Random:
    seed = os.environ.get("FAULT_SEED") or secrets.token_hex(4)
    print(f"FAULT_SEED={seed} gives the same faults again")  # noqa: T201
    return seeded(seed)


@dataclass
class Site:
    """A daemon, and one app that posts a request when it is told to."""

    daemon: Daemon
    upstream: Upstream
    sent: list[Sent] = field(default_factory=list)
    acknowledged: list[Sent] = field(default_factory=list)

    def post(self) -> Reply:
        """Post three events; the answer is success, or says when to come again."""
        first = len(self.sent)
        texts = [
            f'{{"timestamp":1433004485870,"sourceId":"till","eventName":"sold","n":{number}}}'
            for number in range(first, first + 3)
        ]
        events = [Sent(text, "till", number) for number, text in enumerate(texts, first)]
        self.sent += events
        with Client(self.daemon.socket) as client:
            reply = client.ask(
                "POST", "/v1/events", f"[{','.join(texts)}]".encode(), {"Content-Type": "application/json"}
            )
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
        (arrived,) = arrivals(self.upstream).values()
        assert delivery_faults(self.sent, self.acknowledged, arrived) == []
        assert repeat_faults(whole(self.upstream.received)) == []
        assert self.upstream.book.problems == []
        assert total(status, "accepted", lane="samsara") == len(arrived)
        assert total(status, "delivered", lane="samsara") == len(arrived)
        assert len(in_files(self.daemon.state_dir / "events")["samsara"]) == len(arrived)
        assert "Traceback" not in self.daemon.log()


@contextmanager
def site(home: Path) -> Iterator[Site]:
    home.mkdir()
    with ExitStack() as stack:
        upstream = stack.enter_context(Upstream())
        # A socket's path has to be short.
        runtime = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ws-")))
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
    return all(lane["pending_events"] == 0 for lane in daemon.status()["lanes"])


# -- while a request is accepted, forwarded and settled


def fail_once(here: Site, fault: Fault, log: Path, *, recover: bool) -> bool:
    """Fail one call in a request's life; False where it has no such call.

    Args:
        recover: whether the daemon goes on until all is well again, before it is killed.
    """
    with Injected(fault, here.daemon.pid, log) as injected:
        reply = here.post()
        until(lambda: injected.hit or drained(here.daemon), f"{fault} is met, or the request is settled")
        assert reply.status == 202 or injected.hit
        if recover:
            if reply.status == 503:
                until(lambda: here.post().status == 202, "it accepts again")
            here.daemon.forwarded()
    here.restart()
    return injected.hit


CALLS = {"fdatasync": "EIO", "fsync": "EIO", "pwrite64": "ENOSPC"}


@pytest.mark.parametrize(("call", "error"), CALLS.items())
def test_each_call_of_a_request_may_fail_once(tmp_path, chance, call, error):
    bold = chance.randint(1, 8) if call == "pwrite64" else 1
    with site(tmp_path / "home") as here:
        here.daemon.start()
        met = 0
        for nth in range(bold, 100, 8 if call == "pwrite64" else 1):
            fault = Fault(call, error, nth)
            if not fail_once(here, fault, tmp_path / f"{nth}.strace", recover=chance.random() < 0.5):
                break
            met += 1
    print(f"{met} calls failed; {len(here.sent)} events sent, {len(here.acknowledged)} acknowledged")  # noqa: T201
    assert met > 0


@pytest.mark.soak
@pytest.mark.parametrize("recover", [True, False])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EDQUOT"])
@pytest.mark.parametrize("call", [*CALLS, "ftruncate", "pread64", "openat"])
def test_every_single_call_of_a_request_may_fail_once(tmp_path, call, error, recover):
    with site(tmp_path / "home") as here:
        here.daemon.start()
        for nth in range(1, 100):
            if not fail_once(here, Fault(call, error, nth), tmp_path / f"{nth}.strace", recover=recover):
                break


@pytest.mark.parametrize(
    "fault", [Fault("fdatasync", "EIO", lasting=True), Fault("pwrite64", "ENOSPC", lasting=True)], ids=str
)
def test_while_every_call_fails_nothing_is_accepted_and_afterwards_all_is_well(tmp_path, chance, fault):
    with site(tmp_path / "home") as here:
        here.daemon.start()
        for nth in (1, chance.randint(2, 3 if fault.call == "fdatasync" else 40)):
            fault = Fault(fault.call, fault.error, nth, lasting=True)
            with Injected(fault, here.daemon.pid, tmp_path / f"{nth}.strace") as injected:
                until(lambda: here.post().status == 503, "the disk fails")
                assert injected.hit
                assert [here.post().status for _ in range(3)] == [503] * 3
                assert ready(here.daemon) == 503
            until(lambda: here.post().status == 202, "it accepts again")
            assert ready(here.daemon) == 200
            here.check()
            here.restart()


# -- while the daemon starts


def fail_start(here: Site, fault: Fault, log: Path) -> bool:
    """Fail one call of a start; False where it has no such call."""
    before = len(here.daemon.log())
    here.daemon.command = starting(WAYSTATION, fault, log.with_suffix(".sh"), log)
    process = here.daemon.spawn()
    until(lambda: process.poll() is not None or ready(here.daemon) == 200, "it is ready, or ends")
    if process.poll() is None:
        here.daemon.kill()
    else:
        assert here.daemon.wait() == EX_IOERR
        told = here.daemon.log()[before:]
        assert re.fullmatch(r"waystation: .*(disk|I/O|space).*\n", told), told
    here.daemon.command = WAYSTATION
    return was_hit(log)


def sweep_of_starts(here, tmp_path, chance, *, most, prepare) -> int: ...
