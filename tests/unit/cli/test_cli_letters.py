"""`waystation dead-letters`, asking a daemon, or reading a spool that none has open."""

from __future__ import annotations

import json
import os
import threading

import pytest
import trio
from fakes.letters import bury
from fakes.spools import accept, chunk, spool_in

from collector.spool.lock import owned

PAGE = {
    "id": 7,
    "lane": "samsara/samsara",
    "epoch": "7a1ddfff70093730",
    "position": 12,
    "day": "2027-01-15",
    "received_at": 1_800_000_000_000,
    "published_at": None,
    "remote_address": "",
    "died_at": 1_800_000_060_000,
    "reason": "sourceId: \x1b[31mexpected\nstring",
    "status": 400,
    "answer": "no",
    "damaged": False,
    "size": 60,
}


def ok(document):
    body = json.dumps(document).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def no(status, message):
    body = json.dumps({"status": "ERROR", "message": message}).encode()
    return b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@pytest.fixture
def configured(daemon, home, monkeypatch):
    """A configuration that names the daemon's socket as its admin socket."""
    file = home / "config.toml"
    file.write_text(f'state_dir = "{home}/state"\n[admin]\nbind = ["unix:{daemon.path}"]\n')
    monkeypatch.setenv("WAYSTATION_CONFIG", str(file))
    return daemon


def test_the_list_is_a_table_for_people(run, configured):
    configured.answers = [ok({"letters": [PAGE], "next": None})]
    outcome = run("dead-letters", "list")
    assert outcome.code == 0
    (request,) = configured.requests
    assert request.line == "GET /v1/dead-letters?after=0&limit=1000&events=0 HTTP/1.1"
    header, row = outcome.out.splitlines()
    assert header.split() == ["number", "lane", "accepted", "died", "status", "size", "reason"]
    assert row.split()[:6] == [
        "7",
        "samsara/samsara",
        "2027-01-15",
        "2027-01-15",
        "08:01:00Z",
        "400",
    ]
    assert row.endswith("  60B  sourceId:  [31mexpected string")


def test_the_list_follows_the_pages_as_far_as_it_is_asked_to(run, configured):
    pages = [{"letters": [{**PAGE, "id": 7}], "next": 7}, {"letters": [{**PAGE, "id": 8}], "next": 8}]
    configured.answers = [*map(ok, pages), ok({"letters": [PAGE], "next": None})]
    outcome = run("dead-letters", "list", "--lane", "samsara/samsara", "--limit", "2", "--json")
    assert [json.loads(line)["id"] for line in outcome.out.splitlines()] == [7, 8]
    assert [request.line.split()[1] for request in configured.requests] == [
        f"/v1/dead-letters?after={after}&limit=1000&events=0&lane=samsara%2Fsamsara" for after in (0, 7, 8)
    ]


def test_no_letters_are_said_to_be_none(run, configured):
    configured.answers = [ok({"letters": [], "next": None})]
    assert run("dead-letters", "list").out == "there are no dead letters\n"


def test_one_is_shown_whole(run, configured):
    letter = {**PAGE, "event": {"n": 1}}
    configured.answers = [ok({"letters": [letter], "next": None})]
    assert json.loads(run("dead-letters", "show", "7").out) == letter
    assert configured.requests[0].line.split()[1] == "/v1/dead-letters?after=0&limit=1000&events=1&id=7"


def test_one_that_is_not_there_is_an_error(run, configured):
    configured.answers = [ok({"letters": [], "next": None})]
    outcome = run("dead-letters", "show", "7")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == (
        "waystation: there is no dead letter 7; `waystation dead-letters list` shows them\n"
    )


def test_an_export_is_a_line_a_letter(run, configured):
    page = json.dumps({"letters": [{**PAGE, "event": 0}], "next": None}).replace(
        '"event": 0', '"event": {"n":\n 1.0}'
    )
    configured.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(page), page.encode())]
    outcome = run("dead-letters", "export")
    (line,) = outcome.out.splitlines()
    assert line.endswith('"event":{"n":  1.0}}')
    assert json.loads(line) == {**PAGE, "event": {"n": 1.0}}


def test_a_replay_says_what_it_came_to(run, configured):
    configured.answers = [ok({"replayed": 2, "damaged": 1, "away": 1})]
    outcome = run("dead-letters", "replay", "3", "5", "8", "9")
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        "replayed 2 dead letters",
        "kept 1 dead letter: what is left of damaged chunks cannot be replayed",
        "kept 1 dead letter: their upstream is not configured, or does not take them",
    ]
    (request,) = configured.requests
    assert request.line == "POST /v1/dead-letters/replay HTTP/1.1"
    assert json.loads(request.body) == {"ids": [3, 5, 8, 9], "lane": None, "all": False}


def test_a_replay_of_what_is_not_there_is_told(run, configured):
    configured.answers = [ok({"replayed": 1, "damaged": 0, "away": 0})]
    outcome = run("dead-letters", "replay", "3", "5")
    assert (outcome.code, outcome.out) == (1, "replayed 1 dead letter\n")
    assert outcome.err == "waystation: 1 dead letter of those named is not there\n"


@pytest.mark.parametrize(
    "arguments",
    [("replay", "--all"), ("replay", "--lane", "a/samsara"), ("purge", "--all"), ("purge", "3")],
)
def test_what_is_large_or_final_is_not_done_unasked(run, configured, feed, arguments):
    feed(b"")
    outcome = run("dead-letters", *arguments)
    assert outcome.code == 64
    assert outcome.err == "waystation: there is nobody to ask; give --yes\n"
    assert configured.requests == []


@pytest.mark.parametrize(("answered", "code"), [("y", 0), ("n", 130)])
def test_a_person_is_asked(run, configured, monkeypatch, answered, code):
    class Terminal:
        def isatty(self):
            return True

    asked = []

    def answer(prompt, **_):
        asked.append(prompt)
        return answered

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("click.termui.visible_prompt_func", answer)
    configured.answers = [ok({"purged": 4})]
    outcome = run("dead-letters", "purge", "--lane", "a/samsara")
    assert outcome.code == code
    assert len(configured.requests) == (1 if code == 0 else 0)
    if code == 0:
        assert outcome.out.endswith("purged 4 dead letters\n")
        assert json.loads(configured.requests[0].body)["lane"] == "a/samsara"


@pytest.mark.parametrize("arguments", [(), ("3", "--all"), ("--all", "--lane", "a"), ("3", "--lane", "a")])
@pytest.mark.parametrize("command", ["replay", "purge"])
def test_which_letters_are_meant_must_be_clear(run, configured, command, arguments):
    outcome = run("dead-letters", command, *arguments)
    assert outcome.code == 64
    assert outcome.err == "waystation: say which: give numbers, --lane LANE or --all\n"


def test_the_reason_of_a_refusal_is_the_daemons(run, configured):
    configured.answers = [no(404, "there is no lane x")]
    outcome = run("dead-letters", "purge", "--lane", "x", "--yes")
    assert (outcome.code, outcome.err) == (1, "waystation: there is no lane x\n")


@pytest.mark.parametrize("command", ["list", "replay", "purge"])
@pytest.mark.parametrize("body", [b"<html>", b"\xff\xff", b'{"letters":7,"replayed":"x","purged":null}'])
def test_an_answer_that_cannot_be_read_is_said_to_be_so(run, configured, command, body):
    configured.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)]
    outcome = run("dead-letters", command, *(["3", "--yes"] if command != "list" else []))
    assert outcome.code == 1
    assert outcome.err.startswith("waystation: the answer of the daemon cannot be read: ")
    configured.answers = [b"HTTP/1.1 500 No\r\nContent-Length: 6\r\n\r\n<html>"]
    outcome = run("dead-letters", command, *(["3", "--yes"] if command != "list" else []))
    assert outcome.err == "waystation: the daemon answered 500\n"


@pytest.mark.parametrize("command", ["replay", "purge"])
def test_without_a_daemon_nothing_is_changed(run, command):
    outcome = run("dead-letters", command, "3", "--yes")
    assert outcome.code == 69
    assert outcome.err == (
        f"waystation: only the running daemon may {command} dead letters, and none answers:"
        " there is no admin socket; start it with `waystation run`\n"
    )


def test_without_a_daemon_and_a_spool_there_is_nothing_to_read(run, home):
    outcome = run("dead-letters", "list")
    assert outcome.code == 1
    assert outcome.err == (
        f"waystation: no daemon answers, and there is no spool in {home}/.local/state/waystation;"
        " start one with `waystation run`\n"
    )


def test_without_a_daemon_the_spool_itself_is_read(run, home):
    state = home / ".local/state/waystation"

    async def fill():
        async with spool_in(state) as spool:
            await accept(spool, chunk(3))
            await bury(spool, 2)

    thread = threading.Thread(target=trio.run, args=(fill,))
    thread.start()
    thread.join()
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    listed = [json.loads(line) for line in run("dead-letters", "list", "--json").out.splitlines()]
    assert [letter["id"] for letter in listed] == [1, 2]
    exported = [json.loads(line) for line in run("dead-letters", "export").out.splitlines()]
    assert [letter["event"]["eventName"] for letter in exported] == ["sold", "sold"]
    assert json.loads(run("dead-letters", "show", "2").out) == exported[1]
    assert run("dead-letters", "list", "--lane", "x").err.startswith("waystation: there is no lane x;")
    assert {path.name: path.read_bytes() for path in state.iterdir()} == before


def test_a_daemon_that_does_not_answer_is_not_taken_for_none(run, home):
    state = home / ".local/state/waystation"
    state.mkdir(parents=True)
    (state / "spool.db").touch()
    with owned(state / "spool.lock"):
        outcome = run("dead-letters", "list")
    assert (outcome.code, outcome.err) == (
        69,
        f"waystation: process {os.getpid()} has the spool {state} open and does not answer\n",
    )
