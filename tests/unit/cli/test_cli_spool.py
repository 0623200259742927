from __future__ import annotations

import errno
import json
import os
import socket
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from fakes.clocks import StandingClocks
from fakes.spools import accept, chunk, spool_in, wanted

from collector.__main__ import main
from collector.admin import doctor
from collector.config.load import load
from collector.host.clock import Clocks
from collector.host.machine import this_machine
from collector.spool import aside

A_MOMENT = 1_780_000_000_000
"""In 2026: neither of an age that no clock has, nor in the future of any test."""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A configuration with a spool that holds two chunks of three events."""
    state = tmp_path / "state"
    config = tmp_path / "config.toml"
    config.write_text(
        f"""
state_dir = "{state}"
[admin]
bind = ["unix:{tmp_path}/admin.sock"]
[[listener]]
bind = "unix:{tmp_path}/ws.sock"
[[upstream]]
name = "file"
kind = "file"
"""
    )
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WAYSTATION_CONFIG", str(config))

    async def fill():
        async with spool_in(state, wanted("file"), clocks=StandingClocks(wall=A_MOMENT)) as spool:
            await accept(spool, chunk(3, received_at=A_MOMENT), chunk(3, received_at=A_MOMENT))

    trio.run(fill)
    return tmp_path


def run(capsys, *arguments):
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def change(home, sql, **values):
    connection = sqlite3.connect(home / "state/spool.db")
    with connection:
        connection.execute(sql, values)
    connection.close()


def test_peek_prints_the_next_events_of_a_lane(home, capsys):
    code, out, _ = run(capsys, "spool", "peek", "-n", "2", "--lane", "file/samsara")
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [event["position"] for event in events] == [0, 1]
    assert {event["event"]["eventName"] for event in events} == {"sold"}


def test_peek_at_an_unknown_lane_names_those_there_are(home, capsys):
    code, _, err = run(capsys, "spool", "peek", "--lane", "nobody")
    assert code == 64
    assert "file/samsara" in err


def test_export_writes_every_pending_event_to_a_new_private_file(home, capsys):
    target = home / "out.ndjson"
    assert run(capsys, "spool", "export", "-o", str(target))[0] == 0
    assert [json.loads(line)["position"] for line in target.read_text().splitlines()] == list(range(6))
    assert target.stat().st_mode & 0o777 == 0o600
    assert run(capsys, "spool", "export", "-o", str(target))[0] == 64


def test_export_goes_on_behind_a_damaged_chunk_and_says_so(home, capsys):
    change(home, "UPDATE chunk SET body = X'78' WHERE seq = 1")
    code, out, err = run(capsys, "spool", "export")
    assert code == 1
    assert [json.loads(line)["position"] for line in out.splitlines()] == [3, 4, 5]
    assert "chunk 1: its checksum does not fit" in err


def test_verify_proves_a_sound_spool(home, capsys):
    code, out, _ = run(capsys, "spool", "verify")
    assert (code, out) == (0, "2 chunks with 6 events and 1 ledger rows: all is right\n")


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE chunk SET checksum = 1 WHERE seq = 1", "chunk 1: its checksum does not fit"),
        ("DELETE FROM chunk WHERE seq = 1", "events 0 to 2 are missing"),
        (
            "UPDATE counts SET pending = 5, delivered = 1 WHERE lane > 0",
            "its chunks do not hold the 5 events that wait",
        ),
        ("DELETE FROM extent", "stream 1: chunk 1 is in no extent of it"),
        (
            "INSERT INTO extent VALUES (1, 2, 3)",
            "stream 1: its extent from chunk 1 on is open, and another begins at 2",
        ),
        ("DELETE FROM counts WHERE lane > 0", "6 events wait that the ledger does not know"),
    ],
)
def test_verify_and_doctor_find_what_does_not_hold(home, capsys, sql, problem):
    change(home, sql)
    code, out, _ = run(capsys, "spool", "verify")
    assert code == 1
    assert problem in out
    code, out, _ = run(capsys, "doctor")
    assert code == 1
    assert "fail  spool: " in out


def test_info_shows_what_lies_set_aside(home, capsys):
    (home / "state/spool.db.corrupt-20270101T000000Z").touch(mode=0o600)
    code, out, _ = run(capsys, "spool", "info", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["pending_events"], found["running"]) == (6, False)
    assert found["set_aside"] == [{"name": "spool.db.corrupt-20270101T000000Z", "bytes": 0}]
    assert "set aside" in run(capsys, "spool", "info")[1]


@pytest.mark.parametrize("command", ["status", "spool info", "spool verify", "dead-letters list", "doctor"])
def test_a_spool_that_this_user_may_not_see_is_told_and_is_no_bug(home, capsys, command):
    config = home / "config.toml"
    # Root may see everything; a name that is too long is refused in the same place.
    config.write_text(config.read_text().replace(f"{home}/state", f"{home}/{'x' * 300}"))
    code, out, err = run(capsys, *command.split())
    assert (code, "File name too long" in out + err) == (1 if command == "doctor" else 74, True)


def test_the_doctor_finds_nothing_wrong_with_a_sound_spool(home, capsys):
    code, out, _ = run(capsys, "doctor")
    assert code == 0, out
    assert "6 events are as they were written, and 1 rows of the ledger add up" in out


def test_the_doctor_fails_while_damaged_files_are_set_aside(home, capsys):
    (home / "state/spool.db.corrupt-20270101T000000Z").touch(mode=0o600)
    code, out, _ = run(capsys, "doctor", "--json")
    assert code == 1
    assert [check["name"] for check in json.loads(out) if check["result"] == "fail"] == ["damage"]


def test_the_doctor_fails_where_others_may_read_the_spool(home, capsys):
    (home / "state/spool.db").chmod(0o644)
    code, out, _ = run(capsys, "doctor")
    assert code == 1
    assert "chmod 600" in out


def _add_upstream(home, url, secret="s" * 40):
    (home / "hmac.secret").touch(mode=0o600)
    (home / "hmac.secret").write_text(secret)
    with (home / "config.toml").open("a") as file:
        file.write(
            f'[[upstream]]\nname = "far"\nkind = "samsara"\nurl = "{url}"\nsigning = "rfc9421"\n'
            'key_id = "k"\nsecret_file = "hmac.secret"\n'
        )


@pytest.mark.parametrize("file", ["spool.db", "spool.lock"])
def test_the_doctor_fails_where_a_start_as_another_user_left_files(home, capsys, monkeypatch, file):
    (home / "state/spool.lock").touch(mode=0o600)
    real = Path.stat

    def stat(path, **how):
        about = real(path, **how)
        return os.stat_result((*about[:4], about.st_uid + 1, *about[5:])) if path.name == file else about

    monkeypatch.setattr(Path, "stat", stat)
    code, out, _ = run(capsys, "doctor")
    assert code == 1
    assert f"{home}/state/{file} belongs to " in out
    assert f" {home}/state" in out.partition("chown -R ")[2].splitlines()[0]


def test_the_doctor_says_who_it_is_for_where_this_user_may_not_look(home, capsys, monkeypatch):
    """Root may look everywhere, so what the system says to others is said here."""
    real, state = (Path.stat, os.access), home / "state"

    def stat(path, **how):
        if path.parent == state:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real[0](path, **how)

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != state and real[1](path, mode))
    code, out, err = run(capsys, "doctor")
    assert (code, err) == (1, "")
    assert "state cannot be written by this user" in out
    assert "run the doctor as the daemon's user, or as root" in out


def test_the_doctor_connects_to_upstreams_and_sends_nothing(home, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        _add_upstream(home, f"http://127.0.0.1:{server.getsockname()[1]}/v1/events")
        received = []

        server.settimeout(30)

        def serve():
            with suppress(TimeoutError):
                connection, _ = server.accept()
                with connection:
                    received.append(connection.recv(100))

        thread = threading.Thread(target=serve)
        thread.start()
        code, out, _ = run(capsys, "doctor")
        thread.join()
    assert code == 0, out
    assert received == [b""]
    assert "ok    key of upstream far: can be loaded" in out


def test_the_doctor_says_what_to_do_about_a_key_and_an_upstream(home, capsys):
    _add_upstream(home, "http://127.0.0.1:1/v1/events")
    (home / "hmac.secret").chmod(0o644)
    code, out, _ = run(capsys, "doctor")
    assert code == 1
    assert "chmod 600" in out
    assert "cannot be reached: Connection refused" in out


@pytest.mark.parametrize(
    ("sql", "result", "found"),
    [
        (
            "UPDATE age_clock SET total = total - newest_wall + (9 << 40), newest_wall = 9 << 40",
            "fail",
            "earlier than what the spool has seen",
        ),
        ("INSERT INTO boot (name, began_at, base, trust) VALUES ($boot, 1, $base, 2)", "ok", "confirmed by"),
    ],
)
def test_the_doctor_says_how_far_the_clock_is_believed(home, sql, result, found):
    moment = Clocks().moment()
    change(home, sql, boot=this_machine().boot, base=moment.base)
    config = load(home / "config.toml", {})
    check = next(check for check in doctor.examine(config, {}) if check.name == "clock")
    assert check.result == result
    assert found in check.found


def test_the_doctor_tells_of_a_clock_that_nobody_has_confirmed_or_that_lost_its_time(home):
    class NoServer:
        def synchronised(self, *, wall):
            return False

    config = load(home / "config.toml", {})
    for wall, result in ((2 * A_MOMENT, "warn"), (1000, "fail")):
        clocks = Clocks(wall_ms=lambda wall=wall: wall, server=NoServer())
        check = next(check for check in doctor.examine(config, {}, clocks=clocks) if check.name == "clock")
        assert check.result == result, check


def test_the_doctor_tells_of_a_lane_that_is_kept_from_delivering(home, capsys):
    change(home, "UPDATE lane SET state = 'blocked', reason = 'http 401 Unauthorized'")
    code, out, _ = run(capsys, "doctor")
    assert code == 1
    assert "fail  lanes of upstream file: file/samsara is blocked: http 401 Unauthorized" in out


def test_damage_that_was_looked_for_in_vain_is_no_damage_to_the_doctor(home, capsys):
    places = aside.Places(home / "state/spool.db")
    aside.mark(places, aside.Marker("met by a lane", doubted=True))
    code, out, _ = run(capsys, "doctor")
    assert code == 0, out
    assert json.loads(run(capsys, "spool", "info", "--json")[1])["damaged"] == ""
    aside.mark_damaged(places.database, "met again")
    code, out, _ = run(capsys, "doctor")
    assert code == 1
    assert "fail  spool: it is damaged: met again" in out
