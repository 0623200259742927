"""Where the dead letters are: with the running daemon, or in a spool that none has open."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import urlencode

import msgspec

from collector.cli.admin_socket import exchange, reason
from collector.cli.progress import bar
from collector.errors import DaemonUnavailable, WaystationError
from collector.spool import letters
from collector.spool.copy import copied
from collector.spool.letters import Choice, Letter, Page, UnknownLane
from collector.spool.replay import Replayed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator, Iterator
    from types import TracebackType

    from collector.cli.http_post import Reply
    from collector.config.model import Config

T = TypeVar("T")

PATH = "/v1/dead-letters"

LOOK_SECONDS = 0.5
"""Between two looks at how far the daemon is."""


class _Purged(msgspec.Struct):
    purged: int


class _Lane(msgspec.Struct):
    name: str
    dead_letters: int


class _Lanes(msgspec.Struct):
    lanes: list[_Lane]


class Source:
    """The dead letters; a context manager, which holds the copy that it reads where no daemon runs."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stack = ExitStack()
        self._copy: sqlite3.Connection | None = None
        self._silence = ""

    def __enter__(self) -> Self:
        self._stack.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def letters(
        self, *, lane: str | None = None, number: int | None = None, events: bool = False
    ) -> Iterator[Letter]:
        """The letters, the oldest first.

        Args:
            lane: of which lane; None for all.
            number: the one alone.
            events: whether with their events.

        Raises:
            WaystationError: they cannot be read.
        """
        after: int | None = 0
        while after is not None:
            page = self._page(lane, number, after, events=events)
            yield from page.letters
            after = page.next

    def _page(self, lane: str | None, number: int | None, after: int, *, events: bool) -> Page:
        asked: dict[str, str | int] = {"after": after, "limit": letters.MAX_PAGE, "events": int(events)}
        if lane is not None:
            asked["lane"] = lane
        if number is not None:
            asked["id"] = number
        if self._copy is None:
            reply = self._ask(f"{PATH}?{urlencode(asked)}")
            if reply is not None:
                return _decoded(reply, Page)
        ids = None if number is None else (number,)
        choice = Choice(ids=ids, lane=lane, all=number is None and lane is None)
        try:
            return letters.page(self._offline(), choice, after=after, limit=letters.MAX_PAGE, events=events)
        except UnknownLane as error:
            raise WaystationError(str(error)) from None

    def _offline(self) -> sqlite3.Connection:
        if self._copy is None:
            directory = self._config.state_dir
            self._copy = self._stack.enter_context(copied(Path(directory)))
            if self._copy is None:
                raise WaystationError(
                    f"no daemon answers, and there is no spool in {directory};"
                    " start one with `waystation run`"
                )
        return self._copy

    def replay(self, choice: Choice) -> Replayed:
        """Have the daemon replay letters.

        Raises:
            DaemonUnavailable: none runs.
            WaystationError: it did not.
        """
        return _decoded(self._command("replay", choice), Replayed)

    @contextmanager
    def watched(self, what: str, choice: Choice) -> Generator[None]:
        """Show on a terminal, while held, how the number of kept letters goes down."""
        if not sys.stderr.isatty():
            yield
            return
        before = self._kept(choice)
        total = before if choice.ids is None else len(choice.ids)
        ended = threading.Event()
        with bar(what, total) as advance:

            def look() -> None:
                left = before
                while left is not None and not ended.wait(LOOK_SECONDS):
                    now = self._kept(choice)
                    if now is not None:
                        advance(max(0, left - now))
                        left = min(left, now)

            looking = threading.Thread(target=look)
            looking.start()
            try:
                yield
            finally:
                ended.set()
                looking.join()

    def _kept(self, choice: Choice) -> int | None:
        """How many letters the daemon keeps of the lane that a choice names, or of all; None: unknown."""
        reply = self._ask("/v1/lanes")
        if reply is None:
            return None
        try:
            lanes = msgspec.json.decode(reply.body, type=_Lanes).lanes
        except ValueError:
            return None
        return sum(lane.dead_letters for lane in lanes if choice.lane in {None, lane.name})

    def purge(self, choice: Choice) -> int:
        """Have the daemon purge letters; returns how many that were.

        Raises:
            DaemonUnavailable: none runs.
            WaystationError: it did not.
        """
        return _decoded(self._command("purge", choice), _Purged).purged

    def _command(self, what: str, choice: Choice) -> Reply:
        reply = self._ask(f"{PATH}/{what}", msgspec.json.encode(choice))
        if reply is None:
            raise DaemonUnavailable(
                f"only the running daemon may {what} dead letters, and none answers: {self._silence};"
                " start it with `waystation run`"
            )
        return reply

    def _ask(self, path: str, body: bytes | None = None) -> Reply | None:
        """The running daemon's answer; None where no daemon answers."""
        try:
            return exchange(self._config, path, body=body)
        except DaemonUnavailable as error:
            self._silence = str(error)
            return None


def _decoded(reply: Reply, kind: type[T]) -> T:
    """What a success says.

    Raises:
        WaystationError: it is none, and the text is the daemon's reason; or it is garbage.
    """
    if reply.status != 200:  # noqa: PLR2004 (OK)
        raise WaystationError(reason(reply))
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except ValueError as error:
        raise WaystationError(f"the answer of the daemon cannot be read: {error}") from None
