"""Waiting, on trio's clock, for what nobody tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PATIENCE = 60
"""Seconds until what must happen counts as not happening: far more than it ever takes."""


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Ask again and again until the answer is yes."""
    with trio.move_on_after(PATIENCE):
        while not await condition():  # noqa: ASYNC110 -- of the spool, which tells nobody
            await trio.sleep(0.005)
        return
    raise AssertionError(f"not within {PATIENCE} s: {what}")
