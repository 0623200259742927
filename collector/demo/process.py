"""A process of the demo's, which ends with the demo, and the deadlines of its steps."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import msgspec
import trio

from collector.demo.wire import Broken
from collector.errors import DemoFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

PATIENCE = 60.0
"""Seconds until what must happen counts as not happening: far more than it ever takes."""

LOG_LINES = 6

_INHERITED = ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV")
_INHERITED_PREFIXES = ("LC_", "PYTHON")


@contextmanager
def step(what: str, *processes: Process, detail: Callable[[], str] = str) -> Iterator[None]:
    """Give a step its deadline.

    Args:
        what: should happen, as it follows "the demo failed where".
        processes: whose logs may say why it did not.
        detail: says more where it did not.

    Raises:
        DemoFailed: it did not, in `PATIENCE` seconds or because something broke.
    """
    reason = f"not within {PATIENCE:g} s"
    try:
        with trio.move_on_after(PATIENCE) as scope:
            yield
    except (OSError, Broken, msgspec.MsgspecError) as error:
        reason = str(error) or type(error).__name__
    else:
        if not scope.cancelled_caught:
            return
    logs = [process.last_words() for process in processes]
    raise DemoFailed(step=what, reason="\n".join(filter(None, [reason, detail(), *logs])))


class Process:
    """A process of the demo's, which ends with the `with` block at the latest.

    Args:
        name: for people, and of the log.
        arguments: behind the interpreter.
        directory: its current directory, HOME, and the place of its log.
        environ: of the demo; only what finds the program is passed on.
    """

    def __init__(self, name: str, *arguments: str, directory: Path, environ: Mapping[str, str]) -> None:
        self.name = name
        self.directory = directory
        self._log = directory / f"{name}.log"
        self.command = [sys.executable, *arguments]
        self._environ = {
            key: value
            for key, value in environ.items()
            if key in _INHERITED or key.startswith(_INHERITED_PREFIXES)
        }
        self._environ |= {"HOME": str(directory)}
        for kind in ("CONFIG", "STATE", "CACHE", "DATA"):
            self._environ[f"XDG_{kind}_HOME"] = str(directory / kind.lower())
        self._process: trio.Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + PATIENCE):
            await self.ended()
            for pipe in (self._process.stdin, self._process.stdout) if self._process is not None else ():
                if pipe is not None:
                    await pipe.aclose()

    async def spawn(self, *, pipes: bool = False) -> trio.Process:
        """Start it; nothing of it runs yet.

        Args:
            pipes: whether to hold its standard input and output.
        """
        with self._log.open("ab") as log:
            # In a session of its own: Ctrl-C is for the demo, which ends it in good order.
            self._process = await trio.lowlevel.open_process(
                self.command,
                cwd=self.directory,
                env=self._environ,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else log,
                stderr=log,
                start_new_session=True,
            )
        return self._process

    @property
    def pid(self) -> int:
        """Its process id, 0 before its start."""
        return self._process.pid if self._process is not None else 0

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()

    def terminate(self) -> None:
        """SIGTERM."""
        if self._process is not None:
            self._process.terminate()

    async def ended(self) -> int:
        """Wait for its end; returns the exit code."""
        return 0 if self._process is None else await self._process.wait()

    def last_words(self) -> str:
        """How it ended, if it did, and the last lines of its log."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        code = self._process.poll() if self._process is not None else None
        how = "" if code is None else f", which ended with {code}"
        return (
            "\n".join([f"the last lines of {self.name}{how}:", *lines[-LOG_LINES:]]) if lines or how else ""
        )
