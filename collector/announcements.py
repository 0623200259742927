"""What the log is told of a start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from collector import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.config.model import Config
    from collector.fronts import Front
    from collector.spool.spool import Spool


def announce(config: Config, fronts: Sequence[Front]) -> None:
    """That it is ready, and what may be a mistake in its configuration."""
    log = structlog.get_logger()
    if not config.product and config.takers("traintracks", "any"):
        log.warning("products_unverified", reason="no [[product]] is configured: any X-Product-Key is taken")
    if config.spool.durability != "full":
        log.warning("durability_normal", reason="a power cut may lose the last acknowledged events")
    addresses = ", ".join(bound.address for front in fronts for bound in front.sockets)
    log.info("ready", version=__version__, listening=addresses, state_dir=config.state_dir)


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
