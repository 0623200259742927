"""Other machines for a process: with another name, another start, or clocks that say something else."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

import pytest

MACHINE_ID = Path("/etc/machine-id")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1")


class Machine:
    """What a daemon is to see of its machine; the test that asks for what cannot be is skipped.

    Args:
        directory: an empty one.
        command: the `waystation` to run there.

    Attributes:
        command: runs it on this machine, in the same process.
        environ: variables that belong to it.
    """

    def __init__(self, directory: Path, command: Path) -> None:
        self.command = directory / "waystation"
        self.environ: dict[str, str] = {}
        self._directory = directory
        self._real = command
        self._files: dict[Path, str] = {}
        self._boottime = 0
        self._write()

    def name(self, file: Path, name: str) -> None:
        """Have MACHINE_ID or BOOT_ID say something else, from the next start on."""
        _need(_can_unshare("--mount", "--propagation", "private"), "no mount namespace can be made")
        if not file.exists():
            pytest.skip(f"there is no {file}")
        self._files[file] = name
        (self._directory / file.name).write_text(f"{name}\n", encoding="ascii")
        self._write()

    def run_for(self, seconds: int) -> None:
        """Have the machine run so much longer than it has, from the next start on."""
        _need(_can_unshare("--time", "--boottime", "1", "--fork"), "no time namespace can be made")
        self._boottime = seconds
        self._write()

    def set_clock(self, seconds: float) -> None:
        """Have the wall clock be so far ahead of this one's, at once if one is told so before the start."""
        library = next((str(found) for pattern in _LIBRARIES for found in Path("/").glob(pattern[1:])), None)
        _need(library is not None, "libfaketime is not installed")
        file = self._directory / "clock"
        file.with_suffix(".new").write_text(f"{seconds:+.3f}\n", encoding="ascii")
        file.with_suffix(".new").replace(file)
        self.environ |= {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
        }

    def _write(self) -> None:
        mounts = "".join(f"mount --bind '{self._directory / file.name}' '{file}' && " for file in self._files)
        lines = [f"exec '{self._real}' \"$@\""]
        if self._boottime:
            # Its clocks are its children's: the wrapper stays, and passes on what it is told.
            lines = [
                f"unshare --time --boottime {self._boottime} --fork --kill-child '{self._real}' \"$@\" &",
                "child=$!; trap 'kill -TERM \"$(pgrep -P $child)\"' TERM; wait $child; wait $child",
            ]
        if mounts:
            inner = f"{mounts}exec '{self._real}' \"$@\""
            script = self._directory / "mounted"
            script.write_text(f"#!/bin/sh\nset -e\n{inner}\n", encoding="utf-8")
            script.chmod(0o755)
            # The preloaded library is for the daemon alone.
            lines = [f"exec unshare --mount --propagation private '{script}' \"$@\""]
        self.command.write_text("\n".join(["#!/bin/sh", *lines, ""]), encoding="utf-8")
        self.command.chmod(0o755)


@functools.cache
def _can_unshare(*options: str) -> bool:
    if os.geteuid() != 0:
        return False
    try:
        done = subprocess.run(["unshare", *options, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def _need(there: bool, reason: str) -> None:
    if not there:
        pytest.skip(f"LEFT OUT: {reason}")
