"""How long commits may hold up the event loop.

A commit on the loop's thread waits for the disk, and everything else waits with it: forwarding,
status, the next requests. What the commit computes would have to be computed anyway; its waiting
is what another thread could have spared the loop, and of that there may be a share only.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHARE = 0.3
"""Of its time the loop may wait for the disk."""

BURST_SECONDS = 0.1
"""It may wait so much longer at a time: a checkpoint is no reason to give way."""


class Holdups:
    """Counts what the loop has waited.

    Args:
        clock: seconds.
        worked: seconds of work that the calling thread has done so far.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, worked: Callable[[], float] = time.thread_time
    ) -> None:
        self._clock = clock
        self._worked = worked
        self._owed = 0.0
        self._since = clock()

    @property
    def allowed(self) -> bool:
        """Whether the loop may wait once more."""
        now = self._clock()
        self._owed = max(0.0, self._owed - SHARE * (now - self._since))
        self._since = now
        return self._owed < BURST_SECONDS

    @contextmanager
    def measured(self) -> Iterator[None]:
        """What is done meanwhile holds up the loop for as long as it does not work."""
        began, worked = self._clock(), self._worked()
        yield
        self._owed += max(0.0, (self._clock() - began) - (self._worked() - worked))
