"""The real daemon as a process, in a home of its own, and the HTTP to talk to it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PATIENCE = 30.0
"""Seconds until what must happen counts as not happening: far more than it ever takes."""

LISTENERS = """
[[listener]]
bind = "127.0.0.1:0"

[[listener]]
bind = "unix:$socket"
"""
"""For a configuration: a port that the system chooses, and a UNIX socket."""

_Found = TypeVar("_Found")


def until(condition: Callable[[], _Found], what: str, *, within: float = PATIENCE) -> _Found:
    """Ask again and again, less often by and by, until the answer is a true one, and return it."""
    began = time.monotonic()
    while not (found := condition()):
        taken = time.monotonic() - began
        assert taken < within, f"not within {within:g} s: {what}"
        # Asking takes time too, of the daemon's and of the machine's.
        time.sleep(min(0.01 + taken / 10, 0.1))
    return found


@dataclass(frozen=True)
class Reply:
    """An answer as a client reads it; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client(http.client.HTTPConnection):
    """A kept-alive connection to a port of 127.0.0.1, or to a UNIX socket."""

    def __init__(self, address: int | Path, *, timeout: float = PATIENCE) -> None:
        super().__init__("localhost", timeout=timeout)
        self._address = address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> None:
        self.sock = connect(self._address, timeout=self.timeout)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        self.request(method, path, body, dict(headers or {}))
        with self.getresponse() as answer:
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, named, answer.read())


def connect(address: int | Path, *, timeout: float | None = PATIENCE) -> socket.socket:
    """A socket that is connected to a port of 127.0.0.1, or to a UNIX socket."""
    if isinstance(address, int):
        return socket.create_connection(("127.0.0.1", address), timeout=timeout)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(str(address))
    except OSError:
        sock.close()
        raise
    return sock


@dataclass
class Daemon:
    """One `waystation run` after the other, from an empty directory.

    Attributes:
        command: the `waystation` to run.
        home: an empty directory, which becomes HOME.
        runtime: an empty directory of a short path, for sockets.
        config: TOML of the user's configuration file, in which `$socket`, `$admin` and `$home`
            are replaced; None for no configuration at all.
        environ: variables beyond those that a bare session has.
    """

    command: Path
    home: Path
    runtime: Path
    config: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.directory = self.home / "empty"
        self.directory.mkdir()
        self.state_dir = self.home / ".local/state/waystation"
        self.socket = self.runtime / "waystation/waystation.sock"
        self.admin = self.runtime / "waystation/admin.sock"
        self.log_file = self.home / "daemon.log"
        if self.config is not None:
            self.configure(self.config)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its processes: nothing of ours, so that only what is installed can be found."""
        home = str(self.home)
        return {"PATH": os.defpath, "HOME": home, "XDG_RUNTIME_DIR": str(self.runtime), **self.environ}

    @property
    def config_file(self) -> Path:
        return self.home / ".config/waystation/config.toml"

    def configure(self, config: str) -> None:
        """Write the configuration file for the next start."""
        self.config_file.parent.mkdir(parents=True, exist_ok=True)
        text = Template(config).substitute(socket=self.socket, admin=self.admin, home=self.home)
        self.config_file.write_text(text, encoding="utf-8")

    def secret(self, name: str, content: bytes) -> None:
        """Put a secret beside the configuration file."""
        self.config_file.parent.mkdir(parents=True, exist_ok=True)
        path = self.config_file.with_name(name)
        path.touch(mode=0o600)
        path.write_bytes(content)

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process, and wait for nothing."""
        assert self._process is None, "it runs already"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [self.command, "run"],
                cwd=self.directory,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self._process

    def start(self) -> Self:
        """Start it, and wait until it says that it is ready."""
        process = self.spawn()
        until(lambda: process.poll() is not None or self._is_ready(), "the daemon is ready")
        assert process.poll() is None, f"it ended at once with {process.returncode}:\n{self.log()}"
        return self

    def _is_ready(self) -> bool:
        try:
            return self.ask("/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self.wait()

    def freeze(self) -> None:
        """SIGSTOP, and wait until no thread of it can do anything more but end a call of the kernel's."""
        self.signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.pid}/task")
        until(lambda: {_state(thread) for thread in threads.iterdir()} <= {"T", "D"}, "it is frozen")

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, *, within: float = PATIENCE) -> int:
        """Wait for its end; the exit code."""
        assert self._process is not None
        code = self._process.wait(within)
        self._process = None
        return code

    def stop(self) -> int:
        """SIGTERM, and wait; the exit code."""
        self.signal()
        return self.wait()

    def close(self) -> None:
        """Make sure that nothing of it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run another command of the same installation to its end."""
        return subprocess.run(
            [self.command, *arguments],
            cwd=self.directory,
            env=self.variables,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )

    def log(self) -> str:
        """What it told so far, over all starts."""
        return self.log_file.read_text(encoding="utf-8") if self.log_file.is_file() else ""

    def ask(self, path: str) -> Reply:
        """GET from the admin listener."""
        with Client(self.admin) as client:
            return client.ask("GET", path)

    def status(self) -> dict[str, Any]:
        """`GET /v1/status`."""
        reply = self.ask("/v1/status")
        assert reply.status == 200, reply
        status: dict[str, Any] = json.loads(reply.body)
        return status

    def ports(self) -> list[int]:
        """The ports that it listens on, in the order of its listeners."""
        listeners = [listener["address"] for listener in self.status()["listeners"]]
        addresses = [address for listed in listeners for address in listed.split(", ")]
        return [int(address.rpartition(":")[2]) for address in addresses if not address.startswith("unix:")]

    def forwarded(self, *, within: float = PATIENCE) -> dict[str, Any]:
        """Wait until no event is pending; the status then."""

        def drained() -> dict[str, Any] | None:
            status = self.status()
            return status if all(lane["pending_events"] == 0 for lane in status["lanes"]) else None

        return until(drained, f"nothing is pending\n{self.log()[-2000:]}", within=within)


def _state(thread: Path) -> str:
    """A thread's letter in /proc: T is stopped, D waits for a disk and stops after that; T where it ended."""
    try:
        return (thread / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "T"


def unbalanced(status: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a status' ledger whose fates do not add up to what was accepted."""
    fates = ("pending", "delivered", "dead", "expired", "evicted", "damaged")
    return [row for row in status["ledger"] if row["accepted"] != sum(row[fate] for fate in fates)]


def total(status: dict[str, Any], column: str, *, lane: str = "") -> int:
    """The sum of a column of the ledger, over the lanes whose names begin so."""
    return sum(row[column] for row in status["ledger"] if row["lane"].startswith(lane))
