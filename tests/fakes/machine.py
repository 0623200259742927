"""A minimal Debian, booted by its own systemd in namespaces of its own: no Python, no network but loopback.

Its tree is made once and stays as it was: what a boot writes goes to an overlay in memory, but for
what is bound into it. Needs root, mmdebstrap, systemd-container and a package index.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fakes.daemon import until

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build/machine"
INCLUDED = "systemd,systemd-sysv,dbus,rpm"
BOOT_SECONDS = 120.0
COMMAND_SECONDS = 180.0

_TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
}

# The hierarchy that systemd wants, whichever the host has; and a group of our own, for --keep-unit.
_BEGIN = """
umount -l /sys/fs/cgroup 2>/dev/null
mount -t cgroup2 none /sys/fs/cgroup || exit 3
mkdir -p /sys/fs/cgroup/ws-$$ && echo $$ > /sys/fs/cgroup/ws-$$/cgroup.procs || exit 4
"""


class Impossible(Exception):
    """This machine cannot do it; the text says why."""


def tree() -> Path:
    """The file system of a machine that was never booted; made at the first call, in half a minute.

    Raises:
        Impossible: it cannot be made here.
    """
    if os.geteuid() != 0:
        raise Impossible("only root can boot a machine")
    missing = [f"{tool} ({package})" for tool, package in _TOOLS.items() if not shutil.which(tool)]
    if missing:
        raise Impossible(f"there is no {', '.join(missing)}")
    CACHE.mkdir(parents=True, exist_ok=True)
    root = CACHE / "bookworm"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            draft = CACHE / "draft"
            shutil.rmtree(draft, ignore_errors=True)
            command = [
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                f"--include={INCLUDED}",
                "bookworm",
                str(draft),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Impossible(f"no tree can be made: {done.stderr.strip()[-300:]}")
            draft.rename(root)
    return root


class Machine:
    """A machine that runs while its context lasts.

    Args:
        directory: an empty one, for its console and its notifications.
        root: as `tree` makes it.
        binds: what nspawn is told to bind into it, such as `--bind-ro=HERE:THERE`.
        enter: what the command begins with that starts it: that of another mount namespace.
        keeps: whether it writes to its tree, not to an overlay.
    """

    def __init__(
        self,
        directory: Path,
        root: Path,
        *,
        binds: Sequence[str] = (),
        enter: Sequence[str] = (),
        keeps: bool = False,
    ) -> None:
        self._directory = directory
        self._root = root
        self._binds = binds
        self._enter = enter
        self._volatile = "no" if keeps else "overlay"
        self._process: subprocess.Popen[bytes] | None = None
        self.leader = 0

    def __enter__(self) -> Self:
        try:
            self.boot()
        except BaseException:
            self.cut()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def boot(self) -> None:
        """Start it, and wait until all that is to start has started, or has failed.

        Raises:
            Impossible: machines cannot be booted here.
        """
        notices = self._directory / "notify"
        notices.unlink(missing_ok=True)
        nspawn = [
            "systemd-nspawn", "--boot", "--quiet", "--register=no", "--keep-unit", "--notify-ready=yes",
            f"--volatile={self._volatile}", "--private-network", "--link-journal=no", "--console=read-only",
            f"--directory={self._root}", *self._binds,
        ]  # fmt: skip
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard, self.console.open("ab") as console:
            heard.bind(str(notices))
            heard.settimeout(0.1)
            self._process = subprocess.Popen(
                [*self._enter, "unshare", "--mount", "--propagation", "private",
                 "sh", "-c", f'{_BEGIN} exec "$@"', "sh", *nspawn],
                env={**os.environ, "NOTIFY_SOCKET": str(notices)},
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            )  # fmt: skip
            until(lambda: self._is_up(heard), "the machine has booted", within=BOOT_SECONDS)

    def _is_up(self, heard: socket.socket) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise Impossible(f"no machine can be booted here: {self.told()[-300:]}")
        with contextlib.suppress(TimeoutError):
            for line in heard.recv(4096).decode().splitlines():
                name, _, value = line.partition("=")
                if name == "X_NSPAWN_LEADER_PID":
                    self.leader = int(value)
                if name == "READY" and self.leader:
                    return True
        return False

    @property
    def console(self) -> Path:
        return self._directory / "console"

    def told(self) -> str:
        """What it told on its console."""
        return self.console.read_text(encoding="utf-8", errors="replace") if self.console.exists() else ""

    def shut_down(self) -> None:
        """As its operator would."""
        assert self._process is not None
        os.kill(self.leader, signal.SIGRTMIN + 4)
        self._process.wait(BOOT_SECONDS)
        self._process = None

    def cut(self) -> None:
        """End every process at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                if self.leader:
                    os.kill(self.leader, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
            self._process = None
        self.leader = 0

    def inside(self, path: str) -> Path:
        """A path of the machine, for processes of ours."""
        return Path(f"/proc/{self.leader}/root{path}")

    def entering(self, *namespaces: str) -> list[str]:
        """What a command begins with that runs in some of its namespaces."""
        return ["nsenter", "--target", str(self.leader), *namespaces, "--"]

    def start(self, *command: str, user: str = "") -> subprocess.Popen[str]:
        """Start a command on it."""
        becoming = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] if user else []
        home = f"/home/{user}" if user else "/root"
        path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        environ = ["env", "-i", path, f"HOME={home}", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive"]
        namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd")
        return subprocess.Popen(
            [*self.entering(*namespaces), *becoming, *environ, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str, user: str = "", stdin: str = "", check: bool = True) -> str:
        """Run a command on it to its end; what it told, of both kinds."""
        process = self.start(*command, user=user)
        told, _ = process.communicate(stdin, COMMAND_SECONDS)
        if check:
            assert process.returncode == 0, f"{command} left with {process.returncode}:\n{told}"
        return told

    def shows(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).strip()
