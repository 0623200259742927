"""Who commits, and which requests share a commit.

Group commit: what came in one turn of the event loop, or while a commit was under way, shares
the next. Requests that need nothing but to be appended are committed on the event loop's own
thread: to hand them to another thread and to be woken by it takes longer than the commit, on a
disk that syncs in a fraction of a millisecond. All else, what lanes settle, large groups, whatever
comes near a bound, and all there is while the disk is slow, is committed on the writer's
thread, so that the loop goes on. The two take turns: each group is settled before the next begins.

The same work can be run inline, without threads, for tests under a mock clock.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from collector.errors import SpoolUnavailable
from collector.spool.holdups import Holdups
from collector.spool.items import Append

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.spool.items import Item

GROUP_CHUNKS = 1024
"""Requests that share a commit at most; the limit keeps a commit, and so an answer, short."""

GROUP_BYTES = 8 * 1024 * 1024
"""Bytes of bodies that share a commit at most, but for a single larger one."""

HERE_CHUNKS = 128
HERE_BYTES = 1024 * 1024
"""The same on the event loop's thread, where others wait: to compress and append as much takes 3 ms."""

QUOTA_SHARE = 8
"""They are no more than this part of the quota either: a commit takes its room twice, once in the log."""

CLOSED = "it is closed"

_WAIT: list[Item] = []
"""In place of a group: one will come when the interval is over, unless it comes before."""


class Committer(Protocol):
    """What makes a group durable; used by one thread at a time."""

    def is_quick(self, group: Sequence[Item]) -> bool:
        """Whether to commit a group is no more than to insert some rows, and a sync."""

    def commit(self, group: Sequence[Item]) -> Callable[[], None]:
        """Commit a group.

        Returns:
            What is to be called on the event loop's thread: it settles the tickets.
        """

    def close(self) -> None:
        """Nothing more will come."""


class Writer(Protocol):
    """Takes items in order and has them committed."""

    def put(self, item: Item) -> None:
        """Have an item committed; its ticket is settled on the event loop's thread."""

    async def close(self) -> None:
        """Commit what was put, and take nothing more: later items are refused."""


class InlineWriter:
    """Commits each item at once, on the caller's thread."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._waiting: deque[Item] = deque()
        self._busy = False
        self._closed = False

    def put(self, item: Item) -> None:
        """Commit an item; what its tickets' settling puts is committed after it."""
        if self._closed:
            item.ticket.settle(SpoolUnavailable(CLOSED))
            return
        self._waiting.append(item)
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                self._committer.commit([self._waiting.popleft()])()
        finally:
            self._busy = False

    async def close(self) -> None:
        """Close the committer."""
        if not self._closed:
            self._closed = True
            self._committer.close()


class GroupWriter:
    """Commits in groups, on the event loop's thread or on one of its own.

    Args:
        interval: seconds that a group waits for company after its first item; 0 to commit at once.
        token: of the event loop.
        group_bytes: of bodies that share a commit.
        holdups: how long the loop may wait for the disk.

    Attributes:
        group_bytes: the same; may be set at any time.
    """

    def __init__(
        self,
        committer: Committer,
        *,
        interval: float,
        token: trio.lowlevel.TrioToken,
        group_bytes: int = GROUP_BYTES,
        holdups: Holdups | None = None,
    ) -> None:
        self._committer = committer
        self.group_bytes = group_bytes
        self._interval = interval
        self._token = token
        self._holdups = holdups or Holdups()
        self._pending: deque[Item] = deque()
        self._pending_bytes = 0
        self._called = False  # a turn's end, or an interval's, will have a group begun
        self._away = False  # a group is on the thread
        self._groups: queue.SimpleQueue[list[Item] | None] = queue.SimpleQueue()
        self._finished = trio.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Have an item committed; on the event loop's thread."""
        if self._closed:
            item.ticket.settle(SpoolUnavailable(CLOSED))
            return
        self._pending.append(item)
        if isinstance(item, Append):
            self._pending_bytes += len(item.chunk.body)
            if self._away:
                return
            if not self._called:
                self._call()
            elif self._interval and self._is_full():
                self._send()
        elif not self._away:
            # Only requests wait for company: a lane's settling must not slow the forwarding down.
            self._send()

    def _call(self) -> None:
        """Have a group begun when the loop's turn ends, or the interval is over."""
        self._called = True
        if self._interval:
            self._groups.put(_WAIT)
        else:
            self._token.run_sync_soon(self._begin)

    def _is_full(self) -> bool:
        return self._exceeds(GROUP_CHUNKS - 1, self.group_bytes - 1)

    def _exceeds(self, chunks: int, most_bytes: int) -> bool:
        return len(self._pending) > chunks or self._pending_bytes > most_bytes

    def _begin(self) -> None:
        """Commit the next group, unless one is under way, which is followed by it anyhow."""
        self._called = False
        if self._away or not self._pending:
            return
        # What waited for company shall share one sync: that is what it waited for.
        if not self._holdups.allowed or (self._interval and self._exceeds(HERE_CHUNKS, HERE_BYTES)):
            self._send()
            return
        group = self._take(HERE_CHUNKS, HERE_BYTES)
        if not self._committer.is_quick(group):
            self._put_back(group)
            self._send()
            return
        with self._holdups.measured():
            settle = self._committer.commit(group)
        settle()
        if self._pending and not self._called:
            self._called = True
            self._token.run_sync_soon(self._begin)  # others have their turns first

    def _send(self) -> None:
        """Have all that waits and may share a group committed on the thread, which None ends."""
        self._called = False
        group = self._take(GROUP_CHUNKS, self.group_bytes)
        if group or self._closed:
            self._away = True
            self._groups.put(group or None)

    def _take(self, chunks: int, most_bytes: int) -> list[Item]:
        """The next group."""
        pending = self._pending
        group: list[Item] = []
        size = 0
        while pending and len(group) < chunks:
            item = pending[0]
            if isinstance(item, Append):
                more = len(item.chunk.body)
                if size + more > most_bytes and group:
                    break
                size += more
            group.append(pending.popleft())
        self._pending_bytes -= size
        return group

    def _put_back(self, group: list[Item]) -> None:
        self._pending.extendleft(reversed(group))
        self._pending_bytes += sum([len(item.chunk.body) for item in group if isinstance(item, Append)])

    def _settle(self, settle: Callable[[], None]) -> None:
        """A group is back from the thread."""
        self._away = False
        settle()
        if self._away:
            return
        full = bool(self._interval) and self._is_full()
        if full or self._closed or not all(isinstance(item, Append) for item in self._pending):
            self._send()
        elif self._pending and not self._called:
            self._call()

    async def close(self) -> None:
        """Commit what was put, then close."""
        if not self._closed:
            self._closed = True
            if not self._away:
                self._send()
        await self._finished.wait()

    def _run(self) -> None:
        wait: float | None = None
        try:
            while True:
                try:
                    group = self._groups.get(timeout=wait)
                except queue.Empty:
                    wait = None
                    self._wake(self._begin)
                    continue
                if group is None:
                    return
                wait = None if group else self._interval
                if group:
                    self._wake(partial(self._settle, self._committer.commit(group)))
        finally:
            try:
                self._committer.close()
            finally:
                self._wake(self._finished.set)

    def _wake(self, call: Callable[[], None]) -> None:
        try:
            self._token.run_sync_soon(call)
        except trio.RunFinishedError:
            # The loop ended without closing the spool: nobody waits for an answer any more.
            return


def refused(group: Sequence[Item], error: SpoolUnavailable) -> Callable[[], None]:
    """What settles a group that was not committed."""

    def settle() -> None:
        for item in group:
            item.ticket.settle(error)

    return settle
