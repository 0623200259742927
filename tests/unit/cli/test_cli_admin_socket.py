"""Asking the daemon: the first admin socket at which somebody answers."""

from __future__ import annotations

import socket
import threading

import pytest

from collector.cli.admin_socket import ask, exchange, reason, stranger, told
from collector.cli.http_post import Reply
from collector.config.load import load
from collector.errors import DaemonUnavailable


@pytest.fixture
def config(home):
    """One that names two admin sockets."""
    file = home / "c.toml"
    file.write_text(f'[admin]\nbind = ["unix:{home}/first.sock", "unix:{home}/second.sock"]\n')
    return load(file, {"HOME": str(home)})


@pytest.fixture
def deserted(home):
    """The first socket's file, at which nobody listens any more."""
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(home / "first.sock"))


@pytest.fixture
def answering(home):
    """The second socket, at which one request is answered."""
    heard = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home / "second.sock"))
        listener.listen()

        def answer():
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as reader:
                while line := reader.readline().strip():
                    heard.append(line.decode())
                connection.sendall(b'HTTP/1.1 409 Conflict\r\nContent-Length: 18\r\n\r\n{"message":"busy"}')

        thread = threading.Thread(target=answer)
        thread.start()
        yield heard
        thread.join()


@pytest.mark.usefixtures("deserted")
def test_a_socket_that_nobody_listens_at_is_passed_over(config, home, answering):
    reply = exchange(config, "/v1/reload", body=b"")
    assert (reply.status, reply.place, told(reply)) == (409, str(home / "second.sock"), "busy")
    assert answering[0] == "POST /v1/reload HTTP/1.1"
    assert "Content-Type: application/json" in answering


@pytest.mark.usefixtures("deserted")
def test_the_last_silence_is_told(config, home):
    for call in (exchange, ask):
        with pytest.raises(DaemonUnavailable, match=f"^no daemon at {home}/first.sock: Connection refused"):
            call(config, "/v1/status")


def test_where_there_is_no_socket_it_says_which_one_was_looked_for(config, home):
    with pytest.raises(DaemonUnavailable, match=r"^there is no admin socket$"):
        exchange(config, "/v1/status")
    with pytest.raises(
        DaemonUnavailable, match=f"there is no {home}/first.sock or {home}/second.sock; start"
    ):
        ask(config, "/v1/status")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"message": 1}', b'{"message":"\xff"}'])
def test_an_answer_that_gives_no_reason_is_told_by_its_status(body):
    reply = Reply(503, body, "here.sock")
    assert told(reply) == ""
    assert reason(reply) == "the daemon answered 503"
    assert str(stranger(reply)) == "what answers at here.sock (http 503) is no daemon of this release"
