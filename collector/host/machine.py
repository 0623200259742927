"""What the operating system says of this machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from collector.spool.identity import Machine

_MACHINE_ID = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def this_machine() -> Machine:
    """Names of this machine and of its start, empty where the system has none."""
    return Machine(id=next(filter(None, map(_text, _MACHINE_ID)), ""), boot=_text(_BOOT_ID))


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace").strip()
    return ""
