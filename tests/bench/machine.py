"""The machine: what it is, and what else it did while something was measured."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

BUSY_SHARE = 0.05
"""Of the whole machine; where others took more than this, figures are not compared."""

_TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def describe() -> dict[str, str]:
    """What the figures were measured on."""
    model = ""
    for line in (_PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "processor": f"{os.cpu_count()} x {model}",
        "kernel": platform.release(),
        "file system": _file_system(Path.cwd()),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def _file_system(path: Path) -> str:
    best, kind = "", ""
    for line in (_PROC / "mounts").read_text().splitlines():
        _, where, name, *_ = line.split()
        if path.is_relative_to(where) and len(where) > len(best):
            best, kind = where, name
    return kind


@dataclass(frozen=True)
class Others:
    """What processes that are not ours did.

    Attributes:
        share: of the whole machine's time, 0 to 1; what the hypervisor took counts too.
        names: of the busiest.
    """

    share: float
    names: tuple[str, ...]

    @property
    def busy(self) -> bool:
        """Whether figures of this time are not to be compared."""
        return self.share > BUSY_SHARE


class Watch:
    """Looks at the machine from its making until `others`; what we start must have ended by then."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._spent = _spent_by_all()
        self._ours = _spent_by_us()
        self._seen = _processes()

    def others(self) -> Others:
        """What others did since."""
        capacity = (time.monotonic() - self._began) * (os.cpu_count() or 1)
        spent = _spent_by_all() - self._spent - (_spent_by_us() - self._ours)
        by_name: dict[str, float] = {}
        for pid, (name, seconds, kernel) in _processes().items():
            more = seconds - self._seen.get(pid, (name, 0.0, kernel))[1]
            if kernel:  # it writes back what we wrote
                spent -= more
            elif pid != os.getpid():
                by_name[name] = by_name.get(name, 0.0) + more
        names = sorted((name for name in by_name if by_name[name] / capacity > 0.01), key=by_name.__getitem__)
        return Others(max(0.0, spent) / capacity, tuple(reversed(names)))


def _spent_by_all() -> float:
    """Seconds that all processes took so far, and the hypervisor; interrupts are left out."""
    with (_PROC / "stat").open() as file:
        user, nice, system, _idle, _iowait, _irq, _softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + steal) / _TICK


def _spent_by_us() -> float:
    """Seconds that this process took, and those that it started and that have ended."""
    return sum(os.times()[:4])


def _processes() -> dict[int, tuple[str, float, bool]]:
    """Each process' name, seconds so far, and whether it is a thread of the kernel."""
    found = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue  # it has just ended
            name, _, rest = text.partition("(")[2].rpartition(")")
            fields = rest.split()
            seconds = (int(fields[11]) + int(fields[12])) / _TICK
            found[int(entry.name)] = (name, seconds, fields[1] == "2")
    return found


def memory(pid: int) -> dict[str, int]:
    """Resident bytes of a process, now and at its peak."""
    kib = {}
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in {"VmRSS", "VmHWM"}:
            kib[name] = int(value.split()[0]) * 1024
    return {"resident": kib["VmRSS"], "peak": kib["VmHWM"]}


def processor_seconds(pid: int) -> float:
    """Seconds of processor time that a process took so far."""
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def wake_ups(pid: int) -> int:
    """How often its threads went to sleep by themselves so far, and so woke."""
    count = 0
    for task in (_PROC / str(pid) / "task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                count += int(line.split()[1])
    return count


def written_bytes(pid: int) -> int:
    """Bytes that a process has caused to be written to the device so far."""
    for line in (_PROC / str(pid) / "io").read_text().splitlines():
        if line.startswith("write_bytes"):
            return int(line.split()[1])
    return 0
