from __future__ import annotations

import json
import socket
import threading

import pytest
from fakes.statuses import make_lane, make_status

from collector.cli import admin_socket, status_source

ACCEPTED = {"at": 1_792_000_000_123, "what": "accepted", "event": {"n": 1}, "dialect": "samsara", "uid": 7}
DELIVERED = {
    "at": 1_792_000_000_456, "what": "delivered", "event": {"n": 1}, "dialect": "traintracks", "product": "p",
    "lane": "tt/traintracks/p", "batch": "5f", "position": 41,
}  # fmt: skip
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n\n"
REFUSED = b'HTTP/1.1 403 Forbidden\r\nContent-Length: 40\r\n\r\n{"status":"ERROR","message":"not yours"}'


@pytest.fixture
def serve(home, monkeypatch):
    """Answers one request on the admin socket of a daemon without configuration, then hangs up."""
    listener = socket.socket(socket.AF_UNIX)
    path = home / "run/waystation/admin.sock"
    path.parent.mkdir(parents=True)
    listener.bind(str(path))
    listener.listen()
    threads = []
    asked = []

    def start(answer: bytes):
        def answer_one():
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as reader:
                asked.append(reader.readline().decode().split()[1])
                while reader.readline().strip():
                    pass
                connection.sendall(answer)

        threads.append(threading.Thread(target=answer_one))
        threads[0].start()
        return asked

    yield start
    listener.close()
    for thread in threads:
        thread.join()


def lines(*told) -> bytes:
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in told)


def test_each_event_is_a_line(run, serve):
    asked = serve(STREAM + lines(ACCEPTED, DELIVERED, {"missed": 1200}))
    outcome = run("tail")
    assert asked == ["/v1/tail"]
    assert outcome.out.splitlines() == [
        '17:46:40.123Z accepted  samsara {"n":1}',
        '17:46:40.456Z delivered tt/traintracks/p #41 {"n":1}',
        "... 1,200 events were not shown: they came too fast",
    ]
    assert outcome.err == "the daemon has stopped\n"
    assert outcome.code == 0


def test_what_is_asked_for_is_filtered_by_the_daemon(run, serve, monkeypatch):
    monkeypatch.setattr(admin_socket, "daemon_status", lambda _: make_status(lanes=[make_lane("a/samsara")]))
    asked = serve(STREAM)
    run(
        "tail",
        "--delivered",
        "--lane",
        "a/samsara",
        "--dialect",
        "samsara",
        "--product",
        "p",
        "--match",
        "é&",
    )
    assert asked == ["/v1/tail?what=delivered&lane=a%2Fsamsara&dialect=samsara&product=p&match=%C3%A9%26"]


def test_a_lane_that_is_not_there_is_said_to_be_so_and_waited_for(run, serve, monkeypatch):
    status = make_status(lanes=[make_lane("main/samsara"), make_lane("other/samsara")])
    monkeypatch.setattr(admin_socket, "daemon_status", lambda _: status)
    serve(STREAM + lines(DELIVERED))
    outcome = run("tail", "--lane", "mian/samsara", "-n", "1")
    assert outcome.err == (
        "waystation: there is no lane mian/samsara so far; the lanes are main/samsara, other/samsara\n"
    )
    assert outcome.out.count("\n") == 1


def test_as_json_lines_are_as_they_came(run, serve):
    serve(STREAM + lines(ACCEPTED, {"missed": 3}))
    assert [json.loads(line) for line in run("tail", "--json").out.splitlines()] == [ACCEPTED, {"missed": 3}]


def test_it_ends_after_so_many_events(run, serve):
    serve(STREAM + lines(ACCEPTED, {"missed": 3}, ACCEPTED, ACCEPTED))
    outcome = run("tail", "-n", "2", "--json")
    assert len(outcome.out.splitlines()) == 3
    assert outcome.err == ""


def test_what_an_event_holds_cannot_steer_the_terminal(run, serve):
    event = '{"at":0,"what":"accepted","event":{"n":"\x9b31m\x7f\u202e"},"dialect":"samsara"}\n'
    serve(STREAM + event.encode())
    (line,) = run("tail").out.splitlines()
    assert line.endswith('{"n":"\\u009b31m\\u007f\\u202e"}')


def test_a_refusal_is_told_in_the_daemons_words(run, serve):
    serve(REFUSED)
    outcome = run("tail")
    assert (outcome.code, outcome.err) == (1, "waystation: not yours\n")


def test_without_a_daemon_it_says_so(run):
    outcome = run("tail")
    assert outcome.code == 69
    assert "no daemon answers" in outcome.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_for_a_shell(run, shell):
    outcome = run("completion", shell)
    assert outcome.code == 0
    assert f"_WAYSTATION_COMPLETE={shell}_complete" in outcome.out
    assert "waystation" in outcome.out


@pytest.fixture
def complete(run, monkeypatch):
    def typed(*words: str) -> list[str]:
        monkeypatch.setenv("_WAYSTATION_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(("waystation", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        return [line.partition(",")[2] for line in run().out.splitlines() if line]

    return typed


def test_commands_and_options_are_completed(complete):
    assert complete("ta") == ["tail"]
    assert complete("config", "ch") == ["check"]
    assert "--delivered" in complete("tail", "--")


def test_lanes_are_completed(complete, monkeypatch):
    status = make_status(lanes=[make_lane("main/samsara"), make_lane("other/samsara")])
    monkeypatch.setattr(status_source, "current_status", lambda _: status)
    assert complete("tail", "--lane", "ma") == ["main/samsara"]


def test_where_nobody_knows_the_lanes_none_is_completed(complete):
    assert complete("tail", "--lane", "ma") == []


def test_what_is_accepted_has_no_lane_to_be_filtered_by(run):
    outcome = run("tail", "--accepted", "--lane", "samsara/samsara")
    assert outcome.code == 64
    assert "--dialect" in outcome.err
