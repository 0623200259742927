"""Whether a time server keeps this machine's clock right, as far as the system says."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronised."""

STA_UNSYNC = 0x40
"""adjtimex(2): set when the clock is set by hand, and when no time server was heard for hours."""

SAME_TIME_SECONDS = 2
"""The kernel's time must be the one that this process reads; under a library that shows it another
one, what the kernel says of its own means nothing."""

TIMESYNCD_MARK = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd makes it at its first synchronisation; asked where adjtimex(2) is forbidden."""


class _Timex(ctypes.Structure):
    """`struct timex` up to its time, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("fraction", ctypes.c_long),
        ("rest", ctypes.c_char * 256),
    )

    status: int
    seconds: int


class TimeServer:
    """Asks the system; reads only, and needs no privilege.

    Args:
        mark: a file that says so where the kernel may not be asked.
    """

    def __init__(self, mark: Path = TIMESYNCD_MARK) -> None:
        self._mark = mark
        self._library = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def synchronised(self, *, wall: int) -> bool:
        """Whether the wall clock, which says `wall` (ms since 1970), is kept right.

        False where the system does not tell.
        """
        if self._library is None:
            return False
        state = _Timex()
        answer = self._library.adjtimex(ctypes.byref(state))
        if answer < 0:
            return os.path.exists(self._mark)  # noqa: PTH110 (asked at each commit; pathlib takes twice as long)
        same = abs(state.seconds - wall // 1000) <= SAME_TIME_SECONDS
        return same and answer != TIME_ERROR and not state.status & STA_UNSYNC
