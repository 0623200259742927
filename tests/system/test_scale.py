"""A daemon with ten million events pending, and with many small requests, beside one with three events."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fakes.backlog import pile_up
from fakes.daemon import Client, total

from collector.spool.directory import DATABASE_FILE

CONFIG = """
[spool]
max_bytes = "8GiB"

[[listener]]
bind = "unix:$socket"

[[upstream]]
name = "away"
kind = "samsara"
url = "http://127.0.0.1:1/v1/events"
signing = "none"
"""
EVENT = b'{"timestamp":1,"sourceId":"till","eventName":"sold"}\n'
REQUESTS = 500
SLACK = 1.5
"""Times as long as without a backlog: what else a machine does in between."""


def measure(daemon):
    """Seconds and bytes of one life: its start, ten statuses, requests one by one, and what it holds."""
    found = {}
    began = time.monotonic()
    daemon.start()
    found["start"] = time.monotonic() - began
    began = time.monotonic()
    for _ in range(10):
        status = daemon.status()
    found["status"] = time.monotonic() - began
    body = b"[" + EVENT.strip() + b"]"
    began = time.monotonic()
    with Client(daemon.socket) as connection:
        for _ in range(REQUESTS):
            reply = connection.ask("POST", "/v1/events", body, {"Content-Type": "application/json"})
            assert reply.status == 202
    found["ingest"] = time.monotonic() - began
    lines = Path(f"/proc/{daemon.pid}/status").read_text(encoding="ascii").splitlines()
    found["memory"] = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
    assert daemon.stop() == 0
    return found, total(status, "pending")


@pytest.mark.soak
@pytest.mark.system
@pytest.mark.parametrize(
    ("chunks", "events"), [(500, 20_000), (300_000, 3)], ids=["ten million events", "300,000 requests"]
)
def test_a_backlog_slows_nothing_and_takes_no_memory(make_daemon, chunks, events, capsys):
    daemon = make_daemon(CONFIG).start()
    assert daemon.run("send", stdin=EVENT * 3).returncode == 0
    assert daemon.stop() == 0
    small, _ = measure(daemon)
    pile_up(daemon.state_dir, chunks=chunks, events=events)
    large, pending = measure(daemon)
    size = (daemon.state_dir / DATABASE_FILE).stat().st_size >> 20
    with capsys.disabled():
        print(f"\n{pending:,} events in {chunks:,} requests, {size} MiB")  # noqa: T201 (figures for people)
        for part, value in small.items():
            print(f"  {part}: {value:.2f} without a backlog, {large[part]:.2f} with it")  # noqa: T201 (as above)
    assert pending >= chunks * events
    for part in ("start", "status", "ingest"):
        assert large[part] <= small[part] * SLACK + 0.5, part
    assert large["memory"] <= small["memory"] + 16
