"""The breaker of an upstream: how many of its lanes may be at work, and when.

Closed, a few lanes pass at once and the rest queue, first come, first served. What a lane
holds while it is at work (a batch, its rendered body) so stays bounded, however many lanes
there are. Open, one lane passes at a time, as a probe for all, and not before its time;
the others cost nothing meanwhile. At the first answer the backlog drains at once, and twice as
many lanes with each further one: an upstream that has just come back is not met by all.

Paused, nobody passes; what is under way goes on to its end.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

LANES_AT_ONCE = 8
"""Of one upstream. A lane at work holds its batch and the next one, each as large as it is on the wire and
a part more: 8 of them, all with the largest batch that there can be, 150 MiB. Where bodies are not compressed
a batch is held up to four times over (as stored, cut apart, rendered, the next one): 300 MiB. Only a link
that is as fast as it is long makes batches that large."""

LANES_AT_RETURN = 2
"""Once an upstream is back; doubled with each of its answers."""


class Breaker:
    """Lets the lanes of one upstream pass.

    Attributes:
        reason: why it is open, empty while it is closed.
        paused: whether it was told to let nobody pass.
    """

    def __init__(self, *, paused: bool = False) -> None:
        self.reason = ""
        self.paused = paused
        self._inside = 0
        self._allowed = LANES_AT_ONCE
        self._failures = 0
        self._probe_at = 0.0
        self._probing = False
        self._changed = trio.Event()
        self._slots = trio.CapacityLimiter(LANES_AT_ONCE)

    @property
    def is_open(self) -> bool:
        """Whether lanes wait for a probe."""
        return self.reason != ""

    @property
    def is_crowded(self) -> bool:
        """Whether lanes wait for others to be done."""
        return self._slots.statistics().tasks_waiting > 0

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
            self._allowed = LANES_AT_RETURN
            self._change()
        elif self._allowed < LANES_AT_ONCE:
            self._allowed = min(LANES_AT_ONCE, 2 * self._allowed)
            self._change()

    def pause(self) -> None:
        """Let nobody pass until `resume`."""
        self.paused = True

    def resume(self) -> None:
        """Let lanes pass again, the next one at once."""
        self.paused = False
        self.probe_now()

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
            self._inside += 1
            try:
                yield probe
            finally:
                self._inside -= 1
                self._probing &= not probe
                if probe or self._inside < self._allowed < LANES_AT_ONCE:
                    self._change()

    def _is_latecomer(self, *, probe: bool) -> bool:
        return self.is_open and not probe

    async def _turn(self) -> None:
        while (wait := self._wait()) > 0:
            with trio.move_on_after(wait):
                await self._changed.wait()

    def _wait(self) -> float:
        """Seconds until the next lane may pass, as it looks now."""
        if self.paused or (self.is_open and self._probing):
            return float("inf")
        if self.is_open:
            return self._probe_at - trio.current_time()
        return 0.0 if self._inside < self._allowed else float("inf")

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
