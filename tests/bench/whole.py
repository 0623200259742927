"""Sides that measure the whole product: footprint, disk, a large backlog, and draining it."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from bench import machine
from bench.counting import system_calls
from bench.sides import CONFIG, HERE, Bench, Load, wrk
from fakes.daemon import total, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.daemon import Daemon

SOCKET = """
[[listener]]
bind = "unix:$socket"
"""
"""Where `waystation send` looks for the daemon."""

IDLE_SECONDS = 20
BACKLOG = 10_000_000
TURNS = 7
"""In spools that are empty at first, and in the one that holds so many, which grows meanwhile."""

DRAINED = 3_000_000
DRAINED_A_SECOND = 900_000
"""At least so many events, and for each second of a drain more than it takes."""

BESIDE = 20_000
"""Events a second that come in beside a drain; so many wait at its end even where the backlog is gone."""

LINK_DELAY = 0.1
LINK_RATE = 1_250_000
"""Seconds one way, and bytes a second: 200 ms there and back, 10 Mbit/s."""

LINK_GROWING = 15.0
"""Seconds in which batches grow."""

LINKED_A_SECOND = 120_000
"""Events that are more than what passes the link in a second, at 17 bytes each."""

SIGNED = """
[[listener]]
bind = "127.0.0.1:0"

[spool]
max_bytes = "8GiB"

[[upstream]]
name = "near"
kind = "samsara"
url = "http://127.0.0.1:{port}/v1/events"
signing = "rfc9421"
key_id = "bench"
secret_file = "bench.secret"
backoff = {{ initial = "{pause}", max = "{pause}" }}
"""


def footprint(bench: Bench, _seconds: float) -> dict[str, Any]:
    """Start, memory and wake-ups of an idle daemon, and the commands, which find it by themselves."""
    with bench.daemon(CONFIG + SOCKET) as daemon:
        daemon.stop()
        began = time.monotonic()
        daemon.start()
        started = time.monotonic() - began
        time.sleep(2)
        before = machine.processor_seconds(daemon.pid), machine.wake_ups(daemon.pid)
        time.sleep(IDLE_SECONDS)
        after = machine.processor_seconds(daemon.pid), machine.wake_ups(daemon.pid)
        result = {
            "start_seconds": started,
            "idle_MB": machine.memory(daemon.pid)["resident"] / 1e6,
            "idle_core_percent": 100 * (after[0] - before[0]) / IDLE_SECONDS,
            "idle_wake_ups_a_second": (after[1] - before[1]) / IDLE_SECONDS,
        }
        event = b'{"timestamp":1,"sourceId":"a","eventName":"b"}\n'
        result["send_ms"] = _milliseconds(daemon, "send", stdin=event)
        result["help_ms"] = _milliseconds(daemon, "--help")
        result["status_ms"] = _milliseconds(daemon, "status")
        return result


def _milliseconds(daemon: Daemon, *arguments: str, stdin: bytes = b"") -> float:
    times = []
    for _ in range(9):
        began = time.monotonic()
        done = daemon.run(*arguments, stdin=stdin)
        times.append(1000 * (time.monotonic() - began))
        if done.returncode and arguments != ("status",):  # which says that the upstream is not reached
            raise RuntimeError(f"{arguments}: {done.stderr.decode()}")
    return median(times)


def disk(bench: Bench, seconds: float) -> dict[str, Any]:
    """Bytes that an event takes, and that are written for it."""
    result: dict[str, Any] = {}
    for events in (1, 100):
        with bench.daemon() as daemon:
            before = machine.written_bytes(daemon.pid)
            sent = wrk(daemon.ports()[0], Load(events, seconds))
            written = machine.written_bytes(daemon.pid) - before
            daemon.stop()
            size = (daemon.state_dir / "spool.db").stat().st_size
            result[f"bytes_an_event_x{events}"] = size / (sent["requests"] * events)
            result[f"written_a_byte_x{events}"] = written / size
    return result


def syncs(bench: Bench, seconds: float) -> dict[str, Any]:
    """Syncs a second at 100 requests a second, for commit intervals in seconds."""
    result = {}
    for interval in ("0", "0.1", "1"):
        config = CONFIG.replace("[spool]", f"[spool]\ncommit_interval = {interval}")
        with bench.daemon(config) as daemon:
            port = daemon.ports()[0]
            with system_calls(daemon.pid, daemon.home / "strace.log") as calls:
                bench.paced(port, Load(1, seconds), rate=100)
            result[f"syncs_a_second_at_{interval}s"] = calls["fdatasync"] / (seconds + 0.5)
    return result


def _waiting(daemon: Daemon, upstream: str) -> int:
    """Events that wait for an upstream."""
    return total(daemon.status(), "pending", lane=f"{upstream}/")


def _fill(daemon: Daemon, upstream: str, events: int) -> None:
    """Post until so many events wait for an upstream."""
    while (held := _waiting(daemon, upstream)) < events:
        wrk(daemon.ports()[0], Load(100, min(20.0, max(0.5, (events - held) / 400_000))))


def growth(bench: Bench, seconds: float) -> dict[str, Any]:
    """The same load at no backlog and at one of ten million events, in turns: medians of what each gave."""
    p99s: dict[str, list[float]] = {"empty": [], "full": []}
    rates: dict[str, list[float]] = {"empty": [], "full": []}

    def load(at: str, daemon: Daemon) -> None:
        rates[at].append(wrk(daemon.ports()[0], Load(100, seconds))["rate"])

    with bench.daemon() as daemon:
        _fill(daemon, "far", BACKLOG)
        # Both are there all the time: a spool that is deleted keeps the disk busy for a while.
        with bench.daemon() as other:
            for _ in range(TURNS):
                for at, measured in (("empty", other), ("full", daemon)):
                    paced = bench.paced(measured.ports()[0], Load(1, seconds), rate=2000)
                    p99s[at].append(paced["p99"])
            load("empty", other)
            load("full", daemon)
        for _ in range(TURNS // 2):
            with bench.daemon() as other:
                load("empty", other)
            load("full", daemon)
        result: dict[str, Any] = {"peak_MB": machine.memory(daemon.pid)["peak"] / 1e6}
        result["status_ms"] = _milliseconds(daemon, "status")
        daemon.stop()
        began = time.monotonic()
        daemon.start()
        result["start_seconds"] = time.monotonic() - began
        result["started_MB"] = machine.memory(daemon.pid)["peak"] / 1e6
    for at, found in p99s.items():
        result |= {f"p99_at_2000_{at}": median(found), f"rate_{at}": median(rates[at])}
        result |= {f"p99_at_2000_{at}_lowest": min(found), f"p99_at_2000_{at}_highest": max(found)}
    return result


def drain(bench: Bench, seconds: float) -> dict[str, Any]:
    """From a backlog to an upstream on loopback, signed and compressed, alone and beside 20,000 events/s."""
    result: dict[str, Any] = {}
    with (
        _sink() as (port, sink),
        bench.daemon() as daemon,
    ):  # its upstream is far; what it takes is drained below
        paced = bench.paced(daemon.ports()[0], Load(100, seconds), rate=BESIDE / 100)
        result["p99_alone"] = paced["p99"]
        for name, beside in (("rate", False), ("rate_beside", True)):
            delivered = _hold_and_drain(daemon, port, int(max(DRAINED, DRAINED_A_SECOND * seconds)))
            before = machine.processor_seconds(sink), machine.processor_seconds(daemon.pid)
            began = time.monotonic()
            result |= _drained(bench, daemon, seconds, delivered, name=name, beside=beside)
            after = machine.processor_seconds(sink), machine.processor_seconds(daemon.pid)
            for who, spent in zip(("sink", "daemon"), map(float.__sub__, after, before), strict=True):
                result[f"{who}_cores_{name}"] = spent / (time.monotonic() - began)
            until(lambda: not _waiting(daemon, "near"), "the backlog is gone", within=600)
    return result


def link(bench: Bench, seconds: float) -> dict[str, Any]:
    """The share of a long and narrow link that a drain uses, once its batches have grown."""
    with _sink() as (target, _), bench.daemon() as daemon:
        command = [sys.executable, HERE / "far.py", str(target), str(LINK_DELAY), str(LINK_RATE)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as far:
            assert far.stdin is not None
            assert far.stdout is not None
            measured = 4 * seconds
            events = int(LINKED_A_SECOND * (LINK_GROWING + measured))
            _hold_and_drain(daemon, int(far.stdout.readline()), events)

            def passed() -> int:
                assert far.stdin is not None
                assert far.stdout is not None
                far.stdin.write("\n")
                far.stdin.flush()
                return int(far.stdout.readline())

            time.sleep(LINK_GROWING)
            before, began = passed(), time.monotonic()
            time.sleep(measured)
            share = (passed() - before) / (time.monotonic() - began) / LINK_RATE
            _still_draining(_waiting(daemon, "near"))
            peak = machine.memory(daemon.pid)["peak"] / 1e6
            daemon.kill()
            far.stdin.close()
    return {"link_percent": 100 * share, "peak_MB": peak}


@contextmanager
def _sink() -> Iterator[tuple[int, int]]:
    """An upstream: its port and process."""
    with subprocess.Popen([sys.executable, HERE / "sink.py"], stdout=subprocess.PIPE) as sink:
        assert sink.stdout is not None
        try:
            yield int(sink.stdout.readline()), sink.pid
        finally:
            sink.kill()


def _hold_and_drain(daemon: Daemon, port: int, events: int) -> int:
    """Let the daemon gather a backlog, and start it with an upstream that takes it.

    Returns:
        How many events had been delivered before.
    """
    daemon.secret("bench.secret", b"0123456789abcdef0123456789abcdef")
    daemon.stop()
    daemon.configure(SIGNED.format(port=9, pause="3s"))
    daemon.start()
    _fill(daemon, "near", events)
    delivered = total(daemon.status(), "delivered")
    daemon.stop()
    daemon.configure(SIGNED.format(port=port, pause="10ms"))
    daemon.start()
    return delivered


def _still_draining(waiting: int, *, beside: int = 0) -> None:
    """Refuse a figure of a time in which there was nothing left to drain."""
    if waiting <= beside:
        raise RuntimeError(f"only {waiting} events wait at the end: the backlog was gone before")


def _drained(
    bench: Bench, daemon: Daemon, seconds: float, delivered: int, *, name: str, beside: bool
) -> dict[str, Any]:
    """The rate of a drain, from the first delivery on after those that were delivered before."""

    def begun() -> int:
        now = total(daemon.status(), "delivered")
        return now if now > delivered else 0

    before = until(begun, "the drain begins")
    began = time.monotonic()
    result: dict[str, Any] = {}
    if beside:
        result["p99_beside"] = bench.paced(daemon.ports()[0], Load(100, seconds), rate=BESIDE / 100)["p99"]
    else:
        time.sleep(seconds)
    status = daemon.status()
    result[name] = (total(status, "delivered") - before) / (time.monotonic() - began)
    _still_draining(total(status, "pending", lane="near/"), beside=BESIDE if beside else 0)
    result[f"peak_MB_{name}"] = machine.memory(daemon.pid)["peak"] / 1e6
    return result
