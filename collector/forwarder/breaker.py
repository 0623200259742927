"""The breaker of an upstream: how many of its lanes may be at work, and when.

Closed, a few lanes pass at once and the rest queue, first come, first served. What a lane
holds while it is at work (a batch, its rendered body) so stays bounded, however many lanes
there are. Open, one lane passes at a time, as a probe for all, and not before its time;
the others cost nothing meanwhile.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

LANES_AT_ONCE = 8
"""Of one upstream. A lane at work holds its batch up to four times over (as stored, cut apart,
rendered, compressed): 8 of them, at the largest batch that may be configured, 256 MiB; at
the default, 32 MiB."""


class Breaker:
    """Lets the lanes of one upstream pass.

    Attributes:
        reason: why it is open, empty while it is closed.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._failures = 0
        self._probe_at = 0.0
        self._probing = False
        self._changed = trio.Event()
        self._slots = trio.CapacityLimiter(LANES_AT_ONCE)

    @property
    def is_open(self) -> bool:
        """Whether lanes wait for a probe."""
        return self.reason != ""

    def failures(self, *, probe: bool) -> int:
        """The failures in a row, one that is about to be told with `open` included.

        Args:
            probe: as `passage` gave it to the lane that failed.
        """
        return self._failures if self._is_latecomer(probe=probe) else self._failures + 1

    def open(self, reason: str, *, wait: float, probe: bool) -> None:
        """A lane failed for what concerns the upstream as a whole.

        Lanes that were under way when the breaker opened fail after it. That is the same
        failure again: it counts once, though the longest wait asked for is kept.

        Args:
            reason: for people.
            wait: seconds until the next lane may pass, as a probe.
            probe: as `passage` gave it to the lane that failed.
        """
        probe_at = trio.current_time() + wait
        if self._is_latecomer(probe=probe):
            probe_at = max(probe_at, self._probe_at)
        else:
            self._failures += 1
        self.reason = reason
        self._probe_at = probe_at
        self._change()

    def close(self) -> None:
        """The upstream answers: let lanes pass at once."""
        self._failures = 0
        if self.is_open:
            self.reason = ""
            self._change()

    def probe_now(self) -> None:
        """Let the next lane probe at once."""
        self._probe_at = trio.current_time()
        self._change()

    @asynccontextmanager
    async def passage(self) -> AsyncGenerator[bool]:
        """Wait for one's turn, and have it.

        Yields:
            Whether the breaker is open, so that this is the probe.
        """
        async with self._slots:
            await self._turn()
            # Nothing may be awaited from here on until it is told who probes.
            probe = self.is_open
            self._probing |= probe
            try:
                yield probe
            finally:
                if probe:
                    self._probing = False
                    self._change()

    def _is_latecomer(self, *, probe: bool) -> bool:
        return self.is_open and not probe

    async def _turn(self) -> None:
        while self.is_open:
            wait = self._probe_at - trio.current_time()
            if wait <= 0 and not self._probing:
                return
            with trio.move_on_after(float("inf") if self._probing else wait):
                await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
