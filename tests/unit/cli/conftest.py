from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from collector.__main__ import main
from collector.config import paths

if TYPE_CHECKING:
    from pathlib import Path

ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Request:
    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Daemon:
    """Takes one request a connection, and answers each with the next of its scripted bytes."""

    listener: socket.socket
    answers: list[bytes] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    reads_bodies: bool = True

    @property
    def path(self) -> str:
        return str(self.listener.getsockname())

    @property
    def url(self) -> str:
        host, port = self.listener.getsockname()[:2]
        return f"http://{host}:{port}"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as reader:
                line = reader.readline().decode().strip()
                headers = {}
                while text := reader.readline().decode().strip():
                    name, _, value = text.partition(": ")
                    assert name not in headers
                    headers[name] = value
                body = reader.read(int(headers["Content-Length"])) if self.reads_bodies else b""
                self.requests.append(Request(line, headers, body))
                answer = self.answers.pop(0) if self.answers else ACCEPTED
                connection.sendall(answer)


def answer(status: int, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def _served(listener: socket.socket) -> Iterator[Daemon]:
    listener.listen()
    daemon = Daemon(listener)
    thread = threading.Thread(target=daemon.serve)
    thread.start()
    yield daemon
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "d.sock"))
        yield from _served(listener)


@pytest.fixture
def tcp_daemon() -> Iterator[Daemon]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield from _served(listener)


@dataclass
class Outcome:
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory and an environment of its own."""
    for name in (
        "WAYSTATION_CONFIG",
        "WAYSTATION_SOCKET",
        "WAYSTATION_DEBUG",
        "XDG_STATE_HOME",
        "XDG_CONFIG_HOME",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(paths, "SYSTEM_CONFIG", tmp_path / "etc/config.toml")
    monkeypatch.setattr(paths, "SYSTEM_SOCKET", tmp_path / "etc/system.sock")
    return tmp_path


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(home)

    def invoke(*arguments: str) -> Outcome:
        code = main(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return invoke


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[bytes], None]]:
    """Gives standard input its bytes."""
    opened = []

    def give(data: bytes) -> None:
        path = tmp_path / "stdin"
        path.write_bytes(data)
        opened.append(path.open())
        monkeypatch.setattr("sys.stdin", opened[-1])

    yield give
    for handle in opened:
        handle.close()
