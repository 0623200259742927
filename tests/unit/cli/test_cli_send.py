from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import time

import pytest

from collector.cli.find_daemon import find_target
from collector.cli.http_post import Target, get, post
from collector.errors import DaemonUnavailable

EVENT = b'{"timestamp": 1, "sourceId": "s", "eventName": "e", "v": 1.10}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer(status, body=b"", extra=b""):
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, extra, len(body), body)


def test_events_arrive_in_their_own_bytes(run, daemon, feed):
    feed(EVENT)
    before = time.time_ns() // 1_000_000
    outcome = run("send", "--socket", daemon.path)
    assert (outcome.code, outcome.out, outcome.err) == (0, "1 event accepted\n", "")
    (request,) = daemon.requests
    assert request.line == "POST /v1/events HTTP/1.1"
    assert request.body == b"[" + EVENT + b"]"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Host"] == "localhost"
    assert before <= int(request.headers["X-Samsara-publishedTimestamp"]) <= before + 60_000
    assert "X-Product-Key" not in request.headers


def test_a_file_is_sent_by_the_thousand(run, daemon, home):
    (home / "events").write_bytes(EVENT + b"\n" + b"".join(b'{"n":%d}\n' % n for n in range(1500)))
    outcome = run("send", "--socket", daemon.path, str(home / "events"))
    assert (outcome.code, outcome.out) == (0, "1501 events accepted\n")
    assert [len(json.loads(request.body)) for request in daemon.requests] == [1000, 501]


def test_quiet_says_nothing(run, daemon, feed):
    feed(EVENT)
    outcome = run("send", "-q", "--socket", daemon.path, "-")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_nothing_to_send_is_accepted(run, daemon, feed):
    feed(b"")
    assert run("send", "--socket", daemon.path).out == "0 events accepted\n"
    assert daemon.requests == []


def test_traintracks_events_are_signed_over_what_is_sent(run, daemon, feed, home):
    secret = home / "secret"
    secret.write_bytes(b"hunter2\n")
    secret.chmod(0o600)
    daemon.answers.append(answer(200, b'{"status":"OK","warnings":{"count":1}}'))
    feed(EVENT)
    outcome = run("send", "--socket", daemon.path, "--product", "a-key", "--secret-file", str(secret))
    (request,) = daemon.requests
    assert outcome.code == 0
    assert outcome.err == 'waystation: accepted with warnings: {"count": 1}\n'
    assert request.headers["X-Product-Key"] == "a-key"
    assert request.headers["X-Product-Auth"] == hashlib.md5(request.body + b"hunter2").hexdigest()
    assert "X-Samsara-publishedTimestamp" not in request.headers


def test_without_a_secret_traintracks_events_are_not_signed(run, daemon, feed):
    feed(EVENT)
    assert run("send", "--socket", daemon.path, "--product", "a-key").code == 0
    assert "X-Product-Auth" not in daemon.requests[0].headers


def test_a_url_is_posted_to_over_tcp(run, tcp_daemon, feed):
    feed(EVENT)
    assert run("send", "--url", tcp_daemon.url).code == 0
    (request,) = tcp_daemon.requests
    assert request.line == "POST /v1/events HTTP/1.1"
    assert request.headers["Host"] == tcp_daemon.url.removeprefix("http://")


def test_a_refusal_is_told_in_the_daemons_words(run, daemon, feed):
    daemon.answers.append(answer(503, b'{"status":"ERROR","message":"the spool is full"}'))
    feed(EVENT)
    outcome = run("send", "--socket", daemon.path)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "waystation: refused (503): the spool is full\n"


def test_verdicts_name_the_lines_at_fault(run, daemon, feed):
    daemon.answers.append(answer(400, b'["OK","{:eventName missing-required-key}"]'))
    feed(EVENT + b"\n\n{}\n")
    outcome = run("send", "--socket", daemon.path)
    assert outcome.code == 1
    assert outcome.err == (
        "waystation: refused (400): 1 of 2 events\nwaystation: line 3: {:eventName missing-required-key}\n"
    )


def test_verdicts_on_an_array_name_the_events(run, daemon, feed):
    daemon.answers.append(answer(400, json.dumps(["OK"] + ["bad"] * 30).encode()))
    feed(b"[" + b",".join([EVENT] * 31) + b"]")
    lines = run("send", "--socket", daemon.path).err.splitlines()
    assert lines[1] == "waystation: event 2: bad"
    assert lines[-1] == "waystation: and 10 more"
    assert len(lines) == 22


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"", "no reason given"), (b"<html>\n No </html>", "<html> No </html>"), (b"[" * 100_000, "[" * 200)],
)
def test_an_answer_that_is_not_ours_is_quoted(run, daemon, feed, body, said):
    daemon.answers.append(answer(404, body))
    feed(EVENT)
    assert run("send", "--socket", daemon.path).err == f"waystation: refused (404): {said}\n"


def test_what_was_accepted_before_a_failure_is_told(run, daemon, feed):
    daemon.answers += [answer(202), answer(503, b'{"message":"full"}')]
    feed(b"{}\n" * 1500)
    outcome = run("send", "--socket", daemon.path)
    assert outcome.code == 1
    assert outcome.err == "waystation: refused (503): full\nwaystation: the first 1000 events were accepted\n"
    feed(b"{}\n" * 1500 + b"oops\n")
    outcome = run("send", "--socket", daemon.path)
    assert outcome.code == 64
    assert outcome.err.startswith("waystation: line 1501, column 1: not JSON")
    assert outcome.err.endswith("waystation: the first 1000 events were accepted\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--product", "a\r\nX: y"], "a product key is"),
        (["--secret-file", "x"], "--secret-file is for Traintracks events"),
        (["--product", "a", "--secret-file", "/nowhere"], "--secret-file: found a file that cannot be read"),
        (["--url", "http://localhost:1", "--socket", "/x"], "--url and --socket"),
        (["--url", "https://localhost:1"], "expected --url http://HOST:PORT"),
        (["--url", "http://localhost:x"], "expected --url http://HOST:PORT"),
        (["--url", "http://u:p@localhost"], "expected --url http://HOST:PORT"),
        (["--socket", "/x", "/no/such/file"], "/no/such/file: No such file or directory"),
        (["--socket", "/x", "/"], "/: Is a directory"),
        *(
            (
                ["--timeout", seconds],
                f"Invalid value for '--timeout': {seconds} is not above 0 and at most 3600 s",
            )
            for seconds in ("0.0", "-1.0", "3600.1", "inf", "nan", "1e+300")
        ),
        (["--timeout", "soon"], "Invalid value for '--timeout'"),
    ],
)
def test_unusable_arguments_are_code_64(run, arguments, said):
    outcome = run("send", *arguments)
    assert outcome.code == 64
    assert outcome.err.startswith(f"waystation: {said}")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("host", ["a..b", "x" * 300, ".", f"{'x' * 64}.example"])
def test_a_host_that_no_name_can_be_is_code_64(run, feed, host):
    feed(EVENT)
    outcome = run("send", "--url", f"http://{host}/")
    assert (outcome.code, outcome.err) == (64, f"waystation: {host}:80: not the name of a host\n")


def test_a_standard_input_that_is_closed_is_code_64(run, daemon, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    outcome = run("send", "--socket", daemon.path)
    assert (outcome.code, outcome.err) == (64, "waystation: standard input is closed; name a file\n")


def test_a_secret_file_open_to_others_is_refused(run, home):
    (home / "s").write_text("hunter2")
    (home / "s").chmod(0o644)
    outcome = run("send", "--product", "a", "--secret-file", str(home / "s"))
    assert outcome.code == 64
    assert "chmod 600" in outcome.err


def test_no_daemon_is_code_69(run, home, feed):
    feed(EVENT)
    outcome = run("send")
    assert outcome.code == 69
    assert (
        f"there is no socket {home}/.local/state/waystation/waystation.sock or {home}/etc/system.sock"
        in outcome.err
    )
    feed(EVENT)
    outcome = run("send", "--socket", str(home / "gone"))
    assert (outcome.code, outcome.err.count("\n")) == (69, 1)
    feed(EVENT)
    outcome = run("send", "--url", "http://127.0.0.1:1")
    assert outcome.code == 69
    assert "127.0.0.1:1: Connection refused (is it running?)" in outcome.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"", "the connection was closed without an answer"),
        (b"HTTP/1.1 202 Accepted\r\nContent-Le", "the answer breaks off"),
        (b"HTTP/1.1 400 X\r\nContent-Length: 10\r\n\r\nshort", "the answer breaks off"),
        (b"SSH-2.0-OpenSSH\r\n", "the answer is not HTTP/1.1"),
        (b"HTTP/1.1 202 X\r\nContent-Length: x\r\n\r\n", "invalid literal"),
        (b"HTTP/1.1 202 X\r\nContent-Length: 99999999999\r\n\r\n", "the answer is too long"),
        (b"HTTP/1.1 202 X\r\n" + b"a: b\r\n" * 1000, "too many headers"),
        (b"HTTP/1.1 202 X\r\nx: " + b"a" * 100_000, "breaks off"),
    ],
)
def test_an_answer_that_is_none_leaves_it_open_what_was_taken(run, daemon, feed, given, said):
    daemon.answers.append(given)
    feed(EVENT)
    outcome = run("send", "--socket", daemon.path)
    assert outcome.code == 69
    assert said in outcome.err
    assert "may have been carried out or not" in outcome.err


@pytest.mark.parametrize(
    ("given", "status", "body"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(202), 202, b""),
        (answer(200, b"xyz"), 200, b"xyz"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
        (CHUNKED + b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", 200, b"abc0123456789"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    ],
)
def test_answers_of_every_framing_are_read(daemon, given, status, body):
    daemon.answers.append(given)
    reply = post(Target(name="d", unix_path=daemon.path), b"[]", {}, timeout=5)
    assert (reply.status, reply.body) == (status, body)


def test_a_body_that_is_refused_early_gets_its_answer(daemon):
    daemon.reads_bodies = False
    daemon.answers.append(answer(413, b"too large"))
    reply = post(Target(name="d", unix_path=daemon.path), b"x" * 8_000_000, {}, timeout=5)
    assert (reply.status, reply.body) == (413, b"too large")


def test_a_daemon_that_does_not_answer_is_not_waited_for_for_ever(home):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home / "silent"))
        listener.listen()
        target = Target(name="d", unix_path=str(home / "silent"))
        with pytest.raises(DaemonUnavailable, match=r"no answer in time; .* carried out or not"):
            post(target, b"[]", {}, timeout=0.05)
        with pytest.raises(DaemonUnavailable, match=r"no answer in time$"):  # a question changes nothing
            get(target, timeout=0.05)


@pytest.fixture
def find(home):
    def find(environ=None, **given):
        arguments = {"url": None, "socket_path": None, "config_path": None} | given
        return find_target(
            **arguments, environ={"HOME": str(home), "XDG_RUNTIME_DIR": str(home)} | (environ or {})
        )

    return find


def test_the_socket_is_looked_for_from_the_nearest_to_the_farthest(find, home):
    (home / "etc").mkdir()
    (home / "etc/system.sock").touch()
    assert find().unix_path == f"{home}/etc/system.sock"
    (home / "waystation").mkdir()
    (home / "waystation/waystation.sock").touch()
    assert find().unix_path == f"{home}/waystation/waystation.sock"
    config = home / ".config/waystation/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(
        "".join(f'[[listener]]\nbind = "{bind}"\n' for bind in ("localhost:9", "unix:/longer/a", "unix:/b"))
    )
    assert find().unix_path == "/longer/a"
    assert find({"WAYSTATION_SOCKET": "/env"}).unix_path == "/env"
    assert find({"WAYSTATION_SOCKET": "/env"}, socket_path="/given").unix_path == "/given"


def test_a_configuration_without_a_socket_gives_its_port(find, home):
    (home / "c.toml").write_text('[[listener]]\nbind = "localhost:9009"\n')
    target = find(config_path=home / "c.toml")
    assert (target.unix_path, target.host, target.port) == (None, "127.0.0.1", 9009)


def test_a_listener_of_a_drop_in_is_found(find, home):
    (home / "conf.d").mkdir()
    (home / "c.toml").write_text('[log]\nlevel = "info"\n')
    (home / "conf.d/10-socket.toml").write_text('[[listener]]\nbind = "unix:/srv/x.sock"\n')
    assert find(config_path=home / "c.toml").unix_path == "/srv/x.sock"
    # The first socket counts, and those of the file itself come first.
    (home / "c.toml").write_text('[[listener]]\nbind = "unix:/srv/own.sock"\n')
    assert find(config_path=home / "c.toml").unix_path == "/srv/own.sock"
    (home / "c.toml").write_text('[[listener]]\nbind = "localhost:9100"\n')
    assert find(config_path=home / "c.toml").unix_path == "/srv/x.sock"


@pytest.mark.parametrize("unreadable", ["c.toml", "conf.d/20-secret.toml"])
def test_a_file_that_cannot_be_read_hides_no_other(find, home, unreadable):
    (home / "conf.d").mkdir()
    for name, port in (("c.toml", 9100), ("conf.d/20-secret.toml", 9200)):
        text = "broken = =" if name == unreadable else f'[[listener]]\nbind = "localhost:{port}"\n'
        (home / name).write_text(text)
    assert find(config_path=home / "c.toml").port == (9200 if unreadable == "c.toml" else 9100)


@pytest.mark.parametrize("text", ["broken = =", "listener = 3", 'listener = ["x", {bind = "odd"}]', ""])
def test_a_configuration_of_no_help_is_passed_over(find, home, text):
    (home / "c.toml").write_text(text)
    with pytest.raises(DaemonUnavailable, match="there is no socket"):
        find(config_path=home / "c.toml")


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("http://127.0.0.1:9000", "127.0.0.1", 9000, "/v1/events"),
        ("http://[::1]:9000/", "::1", 9000, "/v1/events"),
        ("http://localhost/other?x=1", "localhost", 80, "/other?x=1"),
    ],
)
def test_a_url_without_a_path_means_the_dialects_own(find, url, host, port, path):
    target = find(url=url)
    assert (target.host, target.port, target.path) == (host, port, path)


def test_sending_imports_little(daemon, home):
    (home / "event").write_bytes(EVENT)
    probe = (
        "import sys, collector.__main__ as program\n"
        f"code = program.main(['send', '--socket', {daemon.path!r}, {str(home / 'event')!r}])\n"
        "heavy = {'trio', 'httpx', 'msgspec', 'tomllib', 'platformdirs', 'rich', 'structlog', 'ssl',"
        " 'sqlite3', 'http', 'email', 'cryptography', 'asyncio', 'logging', 'importlib.metadata'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")
