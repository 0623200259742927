"""The parts of the benchmark, and the sides of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import machine, whole
from bench.sides import Bench, Load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Part:
    """One question.

    Attributes:
        sides: by name, what measures each for so many seconds.
        rounds: how often, where once is enough and nothing else is asked for; else three times.
    """

    sides: Mapping[str, Callable[[Bench, float], dict[str, Any]]]
    rounds: int | None = None


def _rates(events: int) -> Part:
    return Part(
        {
            "daemon": lambda bench, seconds: bench.daemon_rate(Load(events, seconds)),
            "listener": lambda bench, seconds: bench.listener_rate(Load(events, seconds)),
            "sqlite": lambda bench, seconds: bench.sqlite_rate(Load(events, seconds / 2)),
        }
    )


_PEERS = Part(
    {
        "daemon": lambda bench, seconds: bench.daemon_rate(Load(1, seconds)),
        "jetstream": lambda bench, seconds: bench.jetstream_rate(Load(1, seconds)),
        "fdatasync": lambda bench, seconds: bench.fdatasync_rate(Load(1, seconds / 2)),
    }
)


def _sketch(events: int) -> Part:
    return Part(
        {
            "daemon": lambda bench, seconds: bench.daemon_rate(Load(events, seconds)),
            "writer apart": lambda bench, seconds: bench.acceptors_rate(Load(events, seconds), 1),
            "two acceptors": lambda bench, seconds: bench.acceptors_rate(Load(events, seconds), 2),
            "listener": lambda bench, seconds: bench.listener_rate(Load(events, seconds)),
        }
    )


def _latency(events: int, rate: float) -> Part:
    def daemon(bench: Bench, seconds: float) -> dict[str, Any]:
        with bench.daemon() as running:
            figures = bench.paced(running.ports()[0], Load(events, seconds), rate=rate)
            return figures | machine.memory(running.pid)

    def listener(bench: Bench, seconds: float) -> dict[str, Any]:
        with bench.listener() as (port, pid):
            return bench.paced(port, Load(events, seconds), rate=rate) | machine.memory(pid)

    return Part({"daemon": daemon, "listener": listener})


PARTS = {
    "rates-1": _rates(1),
    "rates-100": _rates(100),
    "peers": _PEERS,
    "sketch-1": _sketch(1),
    "sketch-100": _sketch(100),
    "latency-1": _latency(1, 2000),
    "latency-100": _latency(100, 1000),
    "footprint": Part({"daemon": whole.footprint}, rounds=1),
    "disk": Part({"daemon": whole.disk}, rounds=1),
    "syncs": Part({"daemon": whole.syncs}, rounds=1),
    "growth": Part({"daemon": whole.growth}, rounds=1),
    "drain": Part({"daemon": whole.drain}, rounds=1),
    "link": Part({"daemon": whole.link}, rounds=1),
}
