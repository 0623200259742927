"""Starting: what stands in the way is said in a line, with an exit code; what a crash left does not."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest
from fakes.daemon import LISTENERS, Client, connect, total
from fakes.delivery import in_files

pytestmark = pytest.mark.system

EVENT = b'{"timestamp":1433004485870,"sourceId":"till","eventName":"sold"}'

TO_FILE = f"""{LISTENERS}
[[upstream]]
name = "file"
kind = "file"
"""


FULL = Path("/dev/full")


def refused(daemon, *, code):
    """What a daemon says that cannot start, line by line."""
    done = daemon.run("run")
    assert done.returncode == code, done.stderr
    assert done.stdout == b""
    return done.stderr.decode().splitlines()


def post(address):
    with Client(address) as client:
        reply = client.ask("POST", "/v1/events", b"[%b]" % EVENT, {"Content-Type": "application/json"})
        assert reply.status == 202


def test_second_daemon_on_the_same_spool_is_refused_and_the_first_goes_on(make_daemon):
    first = make_daemon(TO_FILE).start()
    second = make_daemon(f'state_dir = "{first.state_dir}"\n{TO_FILE}')
    (line,) = refused(second, code=75)
    assert line == (
        f"waystation: the spool {first.state_dir} is in use by process {first.pid};"
        " stop it first, or give another state_dir"
    )
    assert not second.socket.exists()
    post(first.socket)
    assert first.stop() == 0
    assert second.start().status()["ledger"][0]["accepted"] == 1


def test_every_problem_of_a_configuration_is_told_at_once(make_daemon):
    daemon = make_daemon("""
drain_timeout = "soon"
colour = "blue"

[[listener]]
bind = "0.0.0.0:9000"

[[upstream]]
name = "samsara"
kind = "samsara"
url = "http://ingest.example/v1/events"
""")
    lines = refused(daemon, code=78)
    assert all(line.startswith(f"waystation: {daemon.config_file}:") for line in lines)
    problems = "\n".join(lines)
    for key in ("drain_timeout", "colour", "listener[0].bind", "upstream[0].url", "upstream[0].signing"):
        assert f" {key}: found " in problems
    assert len(lines) == 5
    assert not daemon.state_dir.exists()


def test_configuration_that_is_not_toml_and_one_that_is_missing_are_told(make_daemon):
    daemon = make_daemon("[[listener]\n")
    (line,) = refused(daemon, code=78)
    assert line.startswith(f"waystation: {daemon.config_file}:1: ")
    daemon = make_daemon(WAYSTATION_CONFIG="/nowhere/config.toml")
    (line,) = refused(daemon, code=78)
    assert line.startswith("waystation: /nowhere/config.toml: ")


def test_socket_path_that_no_kernel_takes_is_told_before_anything_is_done(make_daemon):
    daemon = make_daemon(TO_FILE.replace("$socket", "/" + "x" * 120))
    (line,) = refused(daemon, code=78)
    assert " listener[1].bind: found " in line
    assert "a socket path of at most 10" in line
    assert not daemon.state_dir.exists()


def test_taken_port_is_named_and_no_socket_left_behind(make_daemon):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        daemon = make_daemon(f"""
[[listener]]
bind = "unix:$socket"

[[listener]]
bind = "127.0.0.1:{port}"
""")
        (line,) = refused(daemon, code=71)
    assert line == (
        f"waystation: cannot listen on 127.0.0.1:{port}: the address is in use by another process"
    )
    assert not daemon.socket.exists()
    daemon.start()


def test_socket_of_a_live_process_is_never_taken(make_daemon):
    daemon = make_daemon(TO_FILE)
    daemon.socket.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(daemon.socket))
        other.listen()
        (line,) = refused(daemon, code=71)
        assert line == f"waystation: cannot listen on unix:{daemon.socket}: another process listens there"
        connect(daemon.socket).close()
    daemon.start()


def test_killed_daemons_sockets_are_replaced(make_daemon):
    daemon = make_daemon(TO_FILE).start()
    post(daemon.socket)
    daemon.kill()
    for path in (daemon.socket, daemon.admin):
        assert path.is_socket()
        with pytest.raises(ConnectionRefusedError):
            connect(path)
    daemon.start()
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o660
    assert stat.S_IMODE(daemon.admin.stat().st_mode) == 0o600
    post(daemon.socket)
    assert total(daemon.forwarded(), "delivered") == 2


def test_environment_variables_override_the_file(make_daemon, tmp_path):
    daemon = make_daemon(TO_FILE, WAYSTATION_STATE_DIR=str(tmp_path / "elsewhere")).start()
    assert daemon.status()["spool"]["path"] == str(tmp_path / "elsewhere")
    assert not daemon.state_dir.exists()


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_daemon_works_on_where_its_log_cannot_be_written(make_daemon):
    daemon = make_daemon(TO_FILE)
    daemon.log_file = FULL
    daemon.start()
    post(daemon.socket)
    assert total(daemon.forwarded(), "delivered") == 1
    assert daemon.stop() == 0


def test_nobody_else_can_read_the_spool(make_daemon):
    daemon = make_daemon(TO_FILE).start()
    post(daemon.socket)
    for path in (daemon.state_dir, *daemon.state_dir.glob("spool*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_send_hands_events_over_from_standard_input(make_daemon):
    daemon = make_daemon(TO_FILE).start()
    sent = daemon.run("send", stdin=EVENT + b"\n" + EVENT)
    assert (sent.returncode, sent.stdout, sent.stderr) == (0, b"2 events accepted\n", b"")
    refusal = daemon.run("send", stdin=b'{"timestamp":"5","sourceId":"till","eventName":"sold"}')
    assert (refusal.returncode, refusal.stdout) == (1, b"")
    assert b'{:timestamp (not (integer? "5"))}' in refusal.stderr
    assert daemon.run("send", stdin=b"no JSON").returncode == 64
    daemon.forwarded()
    assert [
        event.startswith(EVENT[:-1].decode())
        for event in in_files(daemon.state_dir / "events")["samsara"].values()
    ] == [True, True]
    assert daemon.stop() == 0
    unheard = daemon.run("send", stdin=EVENT)
    assert (unheard.returncode, unheard.stdout) == (69, b"")
    assert unheard.stderr.startswith(b"waystation: ")
    assert unheard.stderr.count(b"\n") == 1
