"""Space on the disk: what is kept for the day when there is none, and what happens then.

While there is room, the ballast is at least as large as what a checkpoint may still add to
the database (all that is in the log) and what settling writes. It is looked after before each
commit that appends. When the disk has no room:

1. ingest shuts: each request is answered 503 at once;
2. what is in the log is checkpointed, and the ballast is spent on that, piece by piece as it is
   needed: what is given up and not used at once another process may take. The log is not
   shortened, since its blocks are room that nobody can take;
3. what the lanes settle is committed one by one, with a checkpoint after each, so that it uses the
   same blocks of the log again and again. A reader that stands still keeps the log from being
   used again: meanwhile each commit makes it longer, out of what the ballast has beyond what the
   checkpoint will need in the end;
4. the pages that become free go back to the file system in small steps, each with a checkpoint;
5. once there is room for the ballast and some more, it is built again, and ingest opens.

It runs on the writer's thread, but for the first steps where a commit on the event loop's finds no room.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from collector.core.limits import MIB
from collector.errors import SpoolNoSpace, SpoolUnavailable
from collector.spool.ballast import free_bytes
from collector.spool.database import WAL_CHECKPOINT_BYTES
from collector.spool.worker import GROUP_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.spool.ballast import Ballast
    from collector.spool.database import Database

T = TypeVar("T")

WAL_CEILING_BYTES = WAL_CHECKPOINT_BYTES + GROUP_BYTES
"""What the log comes to: a commit may begin just under the size at which it is checkpointed. A
reader, or a single large request, may drive it further; the ballast is made larger before that."""

LARGEST_SETTLING_BYTES = 8 * MIB
"""What one settling writes at most. Measured: to delete the chunks of a batch, which take up to 6 MiB, took
up to 1.2 times that, least where they are large. A dead letter of more than this waits for room."""

PLAIN_COMMIT_BYTES = 256 * 1024
"""What a commit that only appends adds to the log at most beside twice its bodies: the rest of some
pages, and the pages of what is counted."""

BALLAST_BYTES = WAL_CEILING_BYTES + LARGEST_SETTLING_BYTES

BALLAST_STEP_BYTES = 4 * MIB
"""By so much the ballast grows at a time where the log has outgrown it."""

REOPEN_BYTES = 8 * MIB
"""So much must be free beyond the ballast before ingest opens: else the next few requests would shut
it again, and each time the ballast is written anew."""

VACUUM_PAGES = 1024
"""Pages given back to the file system in one step, 8 MiB."""

SHORT_VACUUM_PAGES = 128
"""The same while the disk is full: a page that is moved costs room in the log first."""

SPEND_BYTES = MIB
"""Pieces in which the ballast is spent."""

MAX_PAUSE = 60
"""Rounds of upkeep that are let pass at most, after the ballast could not be built although the file
system said that there was room; they double from one on."""


class Space:
    """Keeps the ballast, and says whether the disk is full.

    Args:
        database: the writing connection.
        ballast: its file.
        size: what the ballast should be; 0 for none.

    Attributes:
        short: whether the disk is full: nothing may be appended.
    """

    def __init__(self, database: Database, ballast: Ballast, *, size: int) -> None:
        self.short = False
        self._database = database
        self._ballast = ballast
        self._size = size
        self._held = ballast.size
        self._backfilled = False
        self._margin = 0  # by how much the log may grow before it is looked at again
        self._pause = 0
        self._failures = 0

    @property
    def refusal(self) -> SpoolNoSpace:
        """What a request is told while the disk is full."""
        free = free_bytes(self._database.path.parent)
        return SpoolNoSpace(f"there is no room left on the disk ({free} bytes are free)")

    def begin(self, *, short: bool) -> None:
        """Build the ballast at a start.

        Args:
            short: whether some of it had to be spent already for the database to be opened.
        """
        if short:
            self.shut()
        else:
            self._build()

    def provides(self, incoming: int) -> bool:
        """Whether the ballast would do after a plain commit of so many bytes, as it is."""
        if not self._size:
            return True
        if self._held < self._size:
            return False
        if self._margin <= 2 * incoming + PLAIN_COMMIT_BYTES:
            self._measure()
        return self._margin > 2 * incoming + PLAIN_COMMIT_BYTES

    def provide(self, incoming: int, *, plain: bool = False) -> None:
        """See to it that the ballast would do after a commit.

        Args:
            incoming: bytes of bodies in it.
            plain: whether the commit appends them and does nothing else. Then the log is looked at only
                when the commits since the last look may have made it too long.

        Raises:
            SpoolNoSpace: there is no room for as much.
        """
        if not (plain and self.provides(incoming)):
            due = self._due(incoming)
            if self._held < due:
                self._ballast.fill(-(-due // BALLAST_STEP_BYTES) * BALLAST_STEP_BYTES)
                self._held = self._ballast.size
            if plain:
                self._measure()
            else:
                self._margin = 0
        self._margin -= 2 * incoming + PLAIN_COMMIT_BYTES

    def _measure(self) -> None:
        """See by how much the log may grow before it is looked at again."""
        self._margin = self._held - self._database.log_bytes() - LARGEST_SETTLING_BYTES

    def _due(self, incoming: int = 0) -> int:
        if not self._size:
            return 0
        return max(self._size, self._database.log_bytes() + incoming + LARGEST_SETTLING_BYTES)

    def shut(self) -> None:
        """The disk is full: shut ingest, and bring what is in the log into the database."""
        self.short = True
        self._pause = self._failures = 0
        self._try_backfill()

    def settle(self, work: Callable[[], None]) -> None:
        """Commit something while the disk is full.

        Args:
            work: commits it, and may be called again after `SpoolNoSpace`.

        Raises:
            SpoolUnavailable: it was not committed.
        """
        if not self._backfilled:
            self._backfilled = self._spend(self._database.backfill)
        keep = 0
        if not self._backfilled:
            keep = self._database.unwritten_bytes() + SPEND_BYTES
            if self._held + free_bytes(self._database.path.parent) < keep:
                raise SpoolNoSpace("the disk is full, and a reader keeps the log from being used again")
        self._backfilled = False
        self._spend(work, keep=keep)
        self._try_backfill()

    def _try_backfill(self) -> None:
        """Where it fails, whatever is done next tries it again."""
        self._backfilled = False
        with suppress(SpoolUnavailable):
            self._backfilled = self._spend(self._database.backfill)

    def _spend(self, work: Callable[[], T], *, keep: int = 0) -> T:
        """Do something, giving up as much of the ballast as it takes, down to what is to be kept."""
        while True:
            try:
                return work()
            except SpoolNoSpace:
                if self._held <= keep:
                    raise
                self._ballast.cut(max(keep, self._held - SPEND_BYTES))
                self._held = self._ballast.size

    def upkeep(self) -> bool:
        """Give free pages back, one step; then see to the ballast, and whether ingest may open.

        Returns:
            Whether there are more pages.

        Raises:
            SpoolUnavailable: the disk refused.
        """
        # What is held may change here, and what was settled since the last look has made the log longer.
        self._margin = 0
        if self.short:
            return self._upkeep_while_short()
        try:
            if self._database.give_back(pages=VACUUM_PAGES):
                return True
            self._database.cut_log()
        except SpoolNoSpace:
            self.shut()
            return False
        if self._held > self._due() + BALLAST_STEP_BYTES:
            self._ballast.cut(self._due())
            self._held = self._ballast.size
        return False

    def _upkeep_while_short(self) -> bool:
        if not self._backfilled:
            self._backfilled = self._spend(self._database.backfill)
        if self._backfilled:
            self._backfilled = False
            more = self._spend(lambda: self._database.give_back(pages=SHORT_VACUUM_PAGES))
            self._try_backfill()
            if more:
                return True
        if self._pause:
            self._pause -= 1
        elif free_bytes(self._database.path.parent) >= self._due() - self._held + REOPEN_BYTES:
            self._build()
        return False

    def _build(self) -> None:
        """Build the ballast and open ingest, or shut it."""
        before = self._held
        try:
            # The database's own files must be able to grow too, or take what is written to them.
            self._database.try_out()
            self._ballast.fill(self._due())
        except SpoolUnavailable as error:
            failures = self._failures
            self._ballast.cut(before)
            self.shut()
            self._failures = failures + 1
            self._pause = min(MAX_PAUSE, 1 << min(failures, 8))
            if not isinstance(error, SpoolNoSpace):
                raise
        else:
            self._held = self._ballast.size
            self.short = False
            self._failures = 0
