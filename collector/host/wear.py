"""How much this process has had written to storage, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path

_PROC = Path("/proc/self/io")


def written_bytes(path: Path = _PROC) -> int | None:
    """Bytes that were sent to storage since the start of the process; None where no kernel tells."""
    try:
        text = path.read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, number = line.partition(":")
        if name == "write_bytes":
            return int(number)
    return None
