"""Garbage in each of the spool's files, under the real process."""

from __future__ import annotations

import sqlite3

import pytest
from fakes.daemon import total, unbalanced

EVENT = b'{"timestamp":1,"sourceId":"till","eventName":"sold"}\n'
CONFIG = """
[[listener]]
bind = "unix:$socket"

[[upstream]]
name = "away"
kind = "samsara"
url = "http://127.0.0.1:1/v1/events"
signing = "none"
"""


@pytest.mark.system
@pytest.mark.parametrize("file", ["spool.db", "spool.db-wal", "ledger"])
def test_a_daemon_whose_files_are_garbage_starts_with_what_can_be_saved(make_daemon, file):
    daemon = make_daemon(CONFIG).start()
    for _ in range(50):
        assert daemon.run("send", stdin=EVENT * 3).returncode == 0
    daemon.kill()
    path = daemon.state_dir / ("spool.db" if file == "ledger" else file)
    if file == "ledger":
        connection = sqlite3.connect(path)
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ledger'").fetchone()
        connection.close()
        start, length = (page - 1) * 8192, 8192
    else:
        size = path.stat().st_size
        start, length = (0, 8192) if file == "spool.db" else (size // 3, size // 10)
    with path.open("r+b") as damaged:
        damaged.seek(start)
        damaged.write(b"\xa5garbage" * (length // 8))

    daemon.start()
    status = daemon.status()
    assert unbalanced(status) == []
    (salvage,) = status["salvages"]
    assert salvage["events"] == total(status, "pending")
    assert total(status, "pending") + total(status, "damaged") == 150
    assert (daemon.state_dir / salvage["set_aside"]).exists()
    assert "spool_salvaged" in daemon.log()
    assert daemon.run("send", stdin=EVENT).returncode == 0
    assert total(daemon.status(), "pending") == salvage["events"] + 1
    assert daemon.run("spool", "verify").returncode == 0
    doctor = daemon.run("doctor")
    assert doctor.returncode == 1
    assert b"fail  damage: set aside" in doctor.stdout
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()
