"""A trio loop on a thread of its own, for tests that call into it step by step."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

T = TypeVar("T")


class Portal:
    """Runs async functions one at a time, all under one `trio.run`, from entering it to leaving it."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._loop,), name="portal")

    async def _loop(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._stop = trio.Event()
        self._ready.set()
        await self._stop.wait()

    def run(self, function: Callable[..., Awaitable[T]], *arguments: object) -> T:
        return trio.from_thread.run(function, *arguments, trio_token=self._token)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        trio.from_thread.run_sync(self._stop.set, trio_token=self._token)
        self._thread.join()
