"""The daemon: everything that runs, in nurseries whose nesting is the shutdown order.

spool                   closed last, after all that was queued is committed
  signals, maintenance
    lanes               may finish or abandon their attempt within drain_timeout
      listeners         refuse, answer what is in hand, close
"""

from __future__ import annotations

import os
import secrets
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import trio

from collector import __version__
from collector.admin.status import StatusSource
from collector.errors import WaystationError
from collector.forwarder.file import FileSender
from collector.forwarder.forwarder import Chances, Forwarder
from collector.forwarder.sender import HttpSender
from collector.fronts import Front, Shared, Takers, admin_front, client_front
from collector.host.activation import Inherited
from collector.host.clock import Clocks
from collector.host.logfile import keep_short
from collector.host.machine import this_machine
from collector.host.notify import Notifier
from collector.host.signals import watch
from collector.host.supervision import supervise
from collector.listener.api_status import ApiStatus
from collector.listener.capacity import Capacity
from collector.listener.products import ProductSecrets
from collector.spool.opening import CLOSE_SECONDS, open_spool
from collector.spool.options import LetterBounds
from collector.spool.overview import products as known_products
from collector.spool.spool import Spool, SpoolOptions
from collector.spool.upkeep import keep
from collector.spool.upstreams import Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from collector.config.model import Config, Upstream
    from collector.spool.identity import Epoch

NOTICE_SECONDS = 10.0
"""What a stop may take beyond its two deadlines."""

PATIENCE_SECONDS = 2.0
"""How long a request waits for room in a full spool before it is refused: an upstream that takes
events makes some within that, and the app's own patience is longer."""

REFRESH_SECONDS = 10.0
"""Between two looks for rotated secrets."""


def run(config: Config, environ: Mapping[str, str], inherited: Inherited | None = None) -> None:
    """Run until SIGTERM or SIGINT; a second one abandons what is in hand.

    Args:
        config: as it was loaded.
        environ: of the process.
        inherited: listening sockets that the service manager made.

    Raises:
        WaystationError: it could not start, or go on.
    """
    try:
        trio.run(_run, config, environ, inherited or Inherited(), strict_exception_groups=True)
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(error: BaseException) -> BaseException:
    """The one of Waystation's own errors that a group stands for, else the first of any."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    own = error.subgroup(WaystationError)
    return _first((own or error).exceptions[0])


class _Stop:
    """What SIGTERM asks for.

    Attributes:
        asked: set by the first one.
        scopes: cancelled by the second one.
    """

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.scopes: list[trio.CancelScope] = []
        self.hurry = _nothing

    def ask(self) -> None:
        """Stop, or stop at once."""
        if self.asked.is_set():
            for scope in self.scopes:
                scope.cancel()
        self.asked.set()


def _nothing() -> None:
    """Hurry nobody."""


async def _run(config: Config, environ: Mapping[str, str], inherited: Inherited) -> None:
    stop = _Stop()
    notify = Notifier(environ)
    async with trio.open_nursery() as background:
        await background.start(_watch, stop, notify)
        background.start_soon(keep_short, environ)
        await _run_spool(config, environ, stop, notify, inherited)
        background.cancel_scope.cancel()
    structlog.get_logger().info("stopped")


async def _watch(stop: _Stop, notify: Notifier, *, task_status: trio.TaskStatus[None]) -> None:
    def hurry() -> None:
        structlog.get_logger().info("hurried")
        with notify.reload():
            stop.hurry()

    await watch(stop=stop.ask, hurry=hurry, task_status=task_status)


async def _run_spool(
    config: Config, environ: Mapping[str, str], stop: _Stop, notify: Notifier, inherited: Inherited
) -> None:
    started = trio.current_time()
    clocks = Clocks()
    async with AsyncExitStack() as stack:
        # A migration, or what is left of a damaged spool, takes as long as it takes.
        with notify.starting("opening the spool"):
            spool = await stack.enter_async_context(_open_spool(config, clocks))
        _announce_salvage(spool)
        senders = {upstream.name: _sender(upstream, config, environ, clocks) for upstream in config.upstream}
        for sender in senders.values():
            stack.push_async_callback(sender.aclose)
        chances = Chances(
            wall_ms=clocks.wall_ms,
            chance=secrets.SystemRandom().random,
            batch_id=lambda: secrets.token_hex(16),
            heard=clocks.heard,
        )
        forwarder = Forwarder(spool, config.upstream, senders, chances)
        spool.on_growth = forwarder.grown
        fronts: list[Front] = []
        source = StatusSource(
            spool,
            forwarder,
            listeners=lambda: [view for front in fronts for view in front.views()],
            uptime=lambda: trio.current_time() - started,
            pid=os.getpid(),
        )
        products = ProductSecrets(config.product, environ)
        shared = Shared(
            config=config,
            spool=spool,
            status=ApiStatus(),
            capacity=Capacity(),
            takes=Takers(config, await spool.read(known_products)),
            products=products,
            now_ms=clocks.wall_ms,
            inherited=inherited,
        )
        for listener in config.listener:
            fronts.append(client_front(listener, shared))
            stack.callback(fronts[-1].close)
        for address in config.admin.bind:
            fronts.append(admin_front(address, source, shared))
            stack.callback(fronts[-1].close)
        if unclaimed := inherited.close():
            structlog.get_logger().warning(
                "sockets_unclaimed",
                sockets=", ".join(unclaimed),
                reason="no listener has that address, and who connects there waits in vain: disable the unit",
            )

        def hurry() -> None:
            products.refresh()
            forwarder.hurry()

        stop.hurry = hurry
        stack.callback(setattr, stop, "hurry", _nothing)
        async with trio.open_nursery() as upkeep:
            upkeep.start_soon(spool.sound)
            upkeep.start_soon(keep, spool)
            upkeep.start_soon(_refresh, products)
            upkeep.start_soon(supervise, notify, spool)
            await _serve(config, notify, forwarder, fronts, stop)
            upkeep.cancel_scope.cancel()


async def _serve(
    config: Config, notify: Notifier, forwarder: Forwarder, fronts: list[Front], stop: _Stop
) -> None:
    async with trio.open_nursery() as lanes:
        stop.scopes.append(lanes.cancel_scope)
        lanes.start_soon(forwarder.run)
        async with trio.open_nursery() as intake:
            stop.scopes.append(intake.cancel_scope)
            for front in fronts:
                await intake.start(front.server.run)
            _announce(config, fronts)
            notify.ready()
            await stop.asked.wait()
            notify.stopping(within=config.drain_timeout + CLOSE_SECONDS + NOTICE_SECONDS)
            structlog.get_logger().info("stopping", drain_timeout=config.drain_timeout)
            forwarder.stop(drain_timeout=config.drain_timeout)
            for front in fronts:
                front.server.stop(trio.current_time() + config.drain_timeout)


def _announce(config: Config, fronts: list[Front]) -> None:
    log = structlog.get_logger()
    if not config.product and config.takers("traintracks", "any"):
        log.warning("products_unverified", reason="no [[product]] is configured: any X-Product-Key is taken")
    if config.spool.durability != "full":
        log.warning("durability_normal", reason="a power cut may lose the last acknowledged events")
    addresses = ", ".join(bound.address for front in fronts for bound in front.sockets)
    log.info("ready", version=__version__, listening=addresses, state_dir=config.state_dir)


def _announce_salvage(spool: Spool) -> None:
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


def _open_spool(config: Config, clocks: Clocks) -> AbstractAsyncContextManager[Spool]:
    def times(epoch: Epoch | None) -> Clocks:
        if epoch is not None:
            clocks.take_up(epoch.kept, epoch.boot)
        return clocks

    def wanted(upstream: Upstream) -> Wanted:
        return Wanted(
            name=upstream.name,
            kind=upstream.kind,
            from_oldest=upstream.start == "oldest",
            takes=lambda dialect, product: upstream in config.takers(dialect, product),
            max_bytes=upstream.max_bytes,
        )

    options = SpoolOptions(
        directory=Path(config.state_dir),
        upstreams=[wanted(upstream) for upstream in config.upstream],
        max_bytes=config.spool.max_bytes,
        max_age=round(config.spool.max_age * 1000),
        when_full=config.spool.when_full,
        durability=config.spool.durability,
        commit_interval=config.spool.commit_interval,
        patience=PATIENCE_SECONDS,
        letters=LetterBounds(
            max_count=config.dead_letters.max_count,
            # Letters that filled the quota would stop all events.
            max_bytes=min(config.dead_letters.max_bytes, config.spool.max_bytes // 4),
            max_age=round(config.dead_letters.max_age * 1000),
        ),
    )
    return open_spool(options, times, machine=this_machine(), device=config.device)


def _sender(
    upstream: Upstream, config: Config, environ: Mapping[str, str], clocks: Clocks
) -> HttpSender | FileSender:
    if upstream.kind == "file":
        directory = upstream.directory or str(Path(config.state_dir) / "events")
        return FileSender(directory, upstream.max_file_bytes, upstream.max_files)
    return HttpSender(
        upstream,
        products={product.key: product.secret for product in config.product},
        environ=environ,
        wall=lambda: clocks.wall_ms() / 1000,
        ticks=lambda: clocks.ticks_ms() / 1000,
    )


async def _refresh(products: ProductSecrets) -> None:
    """Look for rotated secrets now and then."""
    while True:
        await trio.sleep(REFRESH_SECONDS)
        products.refresh()
