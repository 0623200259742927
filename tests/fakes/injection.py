"""System calls that fail: strace answers in the kernel's place, and the process runs no code of ours.

Each thread counts its own calls, so that the Nth is the Nth of a thread.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fakes.daemon import until


@dataclass(frozen=True)
class Fault:
    """Which calls fail, and with what.

    Attributes:
        call: the system call's name.
        error: an errno's name.
        nth: the first that fails, from 1.
        lasting: whether all behind it fail as well.
    """

    call: str
    error: str
    nth: int = 1
    lasting: bool = False

    def __str__(self) -> str:
        return f"{self.call} {self.nth}{'+' if self.lasting else ''} {self.error}"

    @property
    def options(self) -> list[str]:
        when = f"{self.nth}{'+' if self.lasting else ''}"
        return [
            "-f",
            "-qq",
            "-e",
            f"trace={self.call}",
            "-e",
            f"inject={self.call}:error={self.error}:when={when}",
        ]


def impossible() -> str:
    """Why no call can be made to fail here; empty where it can."""
    if not shutil.which("strace"):
        return "there is no strace"
    tried = subprocess.run(
        ["strace", "-qq", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if tried.returncode == 0 else f"strace cannot trace: {tried.stderr.strip()}"


class Injected:
    """While the context lasts, a process that runs already has its calls fail.

    Args:
        pid: of the process; calls are counted from here on.
        log: a file that is not there yet.
    """

    def __init__(self, fault: Fault, pid: int, log: Path) -> None:
        self._fault = fault
        self._pid = pid
        self._log = log

    def __enter__(self) -> Self:
        self._tracer = subprocess.Popen(
            ["strace", *self._fault.options, "-o", self._log, "-p", str(self._pid)]
        )
        until(self._attached, "strace is attached")
        return self

    def _attached(self) -> bool:
        assert self._tracer.poll() is None, "strace ended at once"
        return all(
            f"TracerPid:\t{self._tracer.pid}\n" in status.read_text()
            for status in Path(f"/proc/{self._pid}/task").glob("*/status")
        )

    def __exit__(self, *_: object) -> None:
        self._tracer.send_signal(signal.SIGINT)  # lets the process go on, if it is there
        self._tracer.wait()

    @property
    def hit(self) -> bool:
        """Whether a call has failed."""
        return was_hit(self._log)


def was_hit(log: Path) -> bool:
    """Whether a call has failed, by strace's log."""
    return log.exists() and "(INJECTED)" in log.read_text(encoding="utf-8")


def starting(program: Path, fault: Fault, script: Path, log: Path) -> Path:
    """A command that runs a program whose calls fail from its first one on."""
    options = " ".join(f"'{option}'" for option in fault.options)
    # Detached, strace is no parent of the process, which stays the caller's own child.
    script.write_text(f"""#!/bin/sh\nexec strace -D --seccomp-bpf {options} -o '{log}' '{program}' "$@"\n""")
    script.chmod(0o755)
    return script
