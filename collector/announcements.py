"""What the log is told of a start."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from collector import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from contextlib import AbstractContextManager

    from collector.config.model import Config
    from collector.fronts import Front
    from collector.spool.spool import Spool
    from collector.spool.stages import Told

    Show = Callable[[], AbstractContextManager[Told]]

TELL_SECONDS = 10.0
"""Between two lines about how far a salvage is."""


def announce(config: Config, fronts: Sequence[Front]) -> None:
    """That it is ready, and what may be a mistake in its configuration."""
    log = structlog.get_logger()
    if not config.product and config.takers("traintracks", "any"):
        log.warning("products_unverified", reason="no [[product]] is configured: any X-Product-Key is taken")
    if config.spool.durability != "full":
        log.warning("durability_normal", reason="a power cut may lose the last acknowledged events")
    addresses = ", ".join(bound.address for front in fronts for bound in front.sockets)
    log.info("ready", version=__version__, listening=addresses, state_dir=config.state_dir)


class SalvageProgress:
    """Tells how far opening a damaged spool is: in the log, to the service manager, and on a terminal.

    A line at the beginning of each step, then one every `TELL_SECONDS`.

    Args:
        status: tells the service manager a line.
        clock: seconds of a clock that nobody sets.
        show: shows it to a person, so that the log need not tell; None for none.
    """

    def __init__(
        self, status: Callable[[str], None], clock: Callable[[], float], show: Told | None = None
    ) -> None:
        self._status = status
        self._clock = clock
        self._show = show
        self._what = ""
        self._due = 0.0

    def __call__(self, what: str, done: int, of: int) -> None:
        """Take note of how far it is, as `stages.Told` says."""
        if self._show is not None:
            self._show(what, done, of)
        now = self._clock()
        if what == self._what and now < self._due:
            return
        self._what, self._due = what, now + TELL_SECONDS
        percent = min(99, done * 100 // of) if of else None
        self._status(f"the spool may be damaged: {what}{'' if percent is None else f', {percent} %'}")
        if self._show is None:
            structlog.get_logger().info("spool_being_salvaged", step=what, percent=percent)


@contextmanager
def salvage_progress(
    status: Callable[[str], None], clock: Callable[[], float], show: Show | None
) -> Generator[Told]:
    """What is to be told of a salvage while held; it may be shown on a terminal meanwhile."""
    if show is None:
        yield SalvageProgress(status, clock)
        return
    with show() as shown:
        yield SalvageProgress(status, clock, shown)


def announce_salvage(spool: Spool) -> None:
    """What was done about a damaged spool."""
    if spool.unconfirmed:
        structlog.get_logger().warning("damage_not_confirmed", reason=spool.unconfirmed)
    salvaged = spool.salvaged
    if salvaged is not None:
        structlog.get_logger().error(
            "spool_salvaged",
            reason=salvaged.reason,
            set_aside=salvaged.set_aside,
            chunks=salvaged.chunks,
            events=salvaged.events,
            damaged=salvaged.damaged,
            notes="; ".join(salvaged.notes),
        )


def announce_unclaimed(unclaimed: Sequence[str]) -> None:
    """The sockets of the service manager that no listener has taken."""
    if unclaimed:
        structlog.get_logger().warning(
            "sockets_unclaimed",
            sockets=", ".join(unclaimed),
            reason="no listener has that address, and who connects there waits in vain: mask the unit",
        )
