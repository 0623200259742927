"""What an operator sees and steers: the parts of the daemon, as the admin listeners ask for them."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import trio

from collector.admin.endpoints import StatusSource, unready
from collector.admin.links import Links
from collector.admin.metrics import Sources
from collector.admin.page import Page
from collector.admin.readings import of_products
from collector.fronts import Operator

if TYPE_CHECKING:
    from collector.reloading import Reloader, Running


def operator(running: Running, reloader: Reloader) -> Operator:
    """What the admin listeners show of what runs, and what they may do to it."""
    spool, forwarder, fronts = running.shared.spool, running.forwarder, running.fronts
    started = trio.current_time()

    def why_not_ready() -> str:
        return unready(spool, forwarder)

    return Operator(
        config=lambda: running.config,
        source=StatusSource(
            spool,
            forwarder,
            listeners=lambda: [view for front in fronts for view in front.views()],
            uptime=lambda: trio.current_time() - started,
            pid=os.getpid(),
            labels=lambda: running.config.labels,
            reload_refused=lambda: reloader.refused,
            directories=lambda: {upstream.name: upstream.directory for upstream in running.config.upstream},
        ),
        metrics=Sources(
            spool=spool,
            forwarder=forwarder,
            listeners=lambda: [front.counted() for front in fronts],
            users=lambda: running.shared.users,
            labels=lambda: running.config.labels,
            ready=lambda: not why_not_ready(),
            log_lines=lambda: running.log.lines,
            now_ms=running.clocks.wall_ms,
            more=lambda: [*reloader.readings(), *of_products(running.shared.keys)],
        ),
        page=Page(
            spool=spool,
            forwarder=forwarder,
            links=Links(trio.current_time, lambda: secrets.token_urlsafe(32)),
            origins=lambda: [origin for front in fronts if front.admin for origin in front.origins()],
            now_ms=running.clocks.wall_ms,
            uptime=lambda: trio.current_time() - started,
            labels=lambda: running.config.labels,
            reload_refused=lambda: reloader.refused,
        ),
        why_not_ready=why_not_ready,
        tokens=lambda: running.tokens,
        reload=reloader.reload,
    )
