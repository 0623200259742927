"""Damage of every kind in each of the spool's files, under the real process."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from fakes.daemon import Client, total, unbalanced

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


BODY = b"[" + b",".join([EVENT.strip()] * 3) + b"]"
PAGE = 8192
REQUESTS = 50


def hurt(path, start, change):
    content = bytearray(path.read_bytes())
    content = change(content, start) or content
    path.write_bytes(content)


def garbage(content, start):
    length = min(PAGE, len(content) - start)
    content[start : start + length] = (b"\xa5garbage" * PAGE)[:length]


def flip(content, start):
    content[start] ^= 1


def cut(content, start):
    return content[:start]


def hurt_database(database, change):
    # Opening and closing checks the log in.
    with closing(sqlite3.connect(database)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'lane'").fetchone()
    size = database.stat().st_size
    hurt(database, {garbage: 0, flip: (page - 1) * PAGE, cut: size - size // 4}[change], change)


def hurt_log(database, change):
    log = database.with_name("spool.db-wal")
    hurt(log, log.stat().st_size // 3, change)


def hurt_ledger(database, change):
    with closing(sqlite3.connect(database)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'counts'").fetchone()
        if change is not garbage:
            connection.execute("PRAGMA ignore_check_constraints=ON")
            sql = {
                cut: "DELETE FROM counts WHERE lane > 0",
                flip: "UPDATE counts SET pending = pending | 1024 WHERE lane > 0",
            }[change]
            connection.execute(sql)
            connection.commit()
    if change is garbage:
        hurt(database, (page - 1) * PAGE, garbage)


@pytest.mark.system
@pytest.mark.parametrize("change", [garbage, flip, cut])
@pytest.mark.parametrize("where", [hurt_database, hurt_log, hurt_ledger])
def test_a_daemon_whose_files_are_damaged_starts_with_what_can_be_saved(make_daemon, where, change):
    daemon = make_daemon(CONFIG).start()
    with Client(daemon.socket) as client:
        for _ in range(REQUESTS):
            reply = client.ask("POST", "/v1/events", BODY, {"Content-Type": "application/json"})
            assert reply.status == 202
    daemon.kill()
    where(daemon.state_dir / "spool.db", change)

    daemon.start()
    status = daemon.status()
    assert unbalanced(status) == []
    (salvage,) = status["salvages"]
    assert salvage["events"] == total(status, "pending")
    accepted = total(status, "pending") + total(status, "damaged")
    if (where, change) == (hurt_log, cut):
        # What stood behind the cut is not known even by number; that it is missing is.
        assert 0 < accepted < REQUESTS * 3
        assert "frames" in salvage["reason"]
    else:
        assert accepted == REQUESTS * 3
    assert (daemon.state_dir / salvage["set_aside"]).exists()
    assert "event=spool_being_salvaged" in daemon.log()
    assert "spool_salvaged" in daemon.log()
    assert daemon.run("send", stdin=EVENT).returncode == 0
    assert total(daemon.status(), "pending") == salvage["events"] + 1
    assert daemon.run("spool", "verify").returncode == 0
    doctor = daemon.run("doctor")
    assert doctor.returncode == 1
    assert b"fail  damage: set aside" in doctor.stdout
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()
