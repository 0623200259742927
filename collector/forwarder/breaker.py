"""The breaker of an upstream: while it is open, one lane probes for all."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Generator


class Breaker:
    """Closed, lanes pass freely; open, one at a time passes, and not before its time.

    Attributes:
        reason: why it is open, empty while it is closed.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._probe_at = 0.0
        self._probing = False
        self._changed = trio.Event()

    @property
    def is_open(self) -> bool:
        """Whether lanes wait for a probe."""
        return self.reason != ""

    def open(self, reason: str, *, wait: float) -> None:
        """Let the next lane pass in `wait` seconds, as a probe."""
        self.reason = reason
        self._probe_at = trio.current_time() + wait
        self._change()

    def close(self) -> None:
        """Let all lanes pass at once."""
        if self.is_open:
            self.reason = ""
            self._change()

    def probe_now(self) -> None:
        """Let the next lane probe at once."""
        self._probe_at = trio.current_time()
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def leave(self) -> None:
        """Wait until a lane may pass: `hold` must follow before anything else is awaited."""
        while self.is_open:
            wait = self._probe_at - trio.current_time()
            if not self._probing and wait <= 0:
                return
            with trio.move_on_after(wait if wait > 0 and not self._probing else float("inf")):
                await self._changed.wait()

    @contextmanager
    def hold(self) -> Generator[None]:
        """Be the one who passes: while the breaker is open nobody else does."""
        probe = self.is_open
        self._probing |= probe
        try:
            yield
        finally:
            if probe:
                self._probing = False
                self._change()
