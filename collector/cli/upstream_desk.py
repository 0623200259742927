"""The upstreams of the running daemon, over its admin socket."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from collector.cli.admin_socket import exchange, reason
from collector.errors import DaemonUnavailable, WaystationError

if TYPE_CHECKING:
    from collector.config.model import Config

PATH = "/v1/upstreams"

POLL_SECONDS = 0.2
"""Between two looks at what still waits."""


class State(msgspec.Struct, frozen=True):
    """An upstream, as `GET /v1/upstreams` tells it."""

    name: str
    configured: bool
    paused: bool
    waiting: str
    pending_events: int
    stuck: dict[str, str]


class Trial(msgspec.Struct, frozen=True):
    """What one dry run came to."""

    product: str
    verdict: str
    reason: str
    meaning: str
    seconds: float


class _Tried(msgspec.Struct):
    trials: list[Trial]


class _Evicted(msgspec.Struct):
    evicted: dict[str, int]


class _Buried(msgspec.Struct):
    buried: dict[str, int]


class Desk:
    """Where commands are handed in; each raises DaemonUnavailable where no daemon runs."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def states(self) -> list[State]:
        """All upstreams, those of the configuration first."""
        return msgspec.json.decode(self._ask(PATH, None), type=list[State])

    def state(self, name: str) -> State:
        """One of them.

        Raises:
            WaystationError: there is none of that name.
        """
        for state in self.states():
            if state.name == name:
                return state
        raise WaystationError(f"there is no upstream {name}")

    def command(self, name: str, what: str) -> bytes:
        """Have something done to an upstream; returns the daemon's document.

        Raises:
            WaystationError: it was not done; the text is the daemon's reason.
        """
        if not name.replace("-", "").isalnum() or not name.isascii():
            raise WaystationError(f"there is no upstream {name}")
        return self._ask(f"{PATH}/{name}/{what}", b"")

    def trials(self, name: str) -> list[Trial]:
        """Have the dry runs of an upstream made; the daemon waits for their answers no longer than 20 s."""
        return msgspec.json.decode(self.command(name, "test"), type=_Tried).trials

    def forget(self, name: str) -> int:
        """Have an orphan's events evicted; returns how many that were."""
        return sum(msgspec.json.decode(self.command(name, "forget"), type=_Evicted).evicted.values())

    def bury(self, name: str) -> dict[str, int]:
        """Have what is answered 500 for ever dead-lettered; returns the positions by lane."""
        return msgspec.json.decode(self.command(name, "bury"), type=_Buried).buried

    def drained(self, name: str, seconds: float) -> State:
        """Look on until nothing waits for an upstream, or for so long."""
        deadline = time.monotonic() + seconds
        while (state := self.state(name)).pending_events and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return state

    def _ask(self, path: str, body: bytes | None) -> bytes:
        try:
            reply = exchange(self._config, path, body=body)
        except DaemonUnavailable as silence:
            raise DaemonUnavailable(
                "no daemon runs, and only a running one can do this:"
                f" {silence}; start it with `waystation run`"
            ) from None
        if reply.status != 200:  # noqa: PLR2004 (OK)
            raise WaystationError(reason(reply))
        return reply.body
