"""The daemon: everything that runs, in nurseries whose nesting is the shutdown order.

spool                   closed last, after all that was queued is committed
  signals, maintenance
    lanes               may finish or abandon their attempt within drain_timeout
      listeners         refuse, answer what is in hand, close
"""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
import trio

from collector.announcements import announce, announce_salvage, announce_unclaimed, salvage_progress
from collector.core.tap import Tap
from collector.errors import WaystationError
from collector.forwarder.forwarder import Forwarder
from collector.forwarder.names import Names
from collector.forwarder.surroundings import Chances, RotatesKeys
from collector.fronts import Shared, admin_front, capacity, client_front
from collector.host import garbage
from collector.host.activation import Inherited
from collector.host.clock import Clocks
from collector.host.logfile import keep_short
from collector.host.machine import this_machine
from collector.host.memory import return_large_blocks
from collector.host.notify import Notifier
from collector.host.signals import watch
from collector.host.supervision import supervise
from collector.listener.api_status import ApiStatus
from collector.listener.product_keys import ProductKeys
from collector.listener.products import ProductSecrets
from collector.operating import operator
from collector.parts import admin_tokens, make_sender, spool_options
from collector.reloading import Reloader, Running
from collector.spool.opening import CLOSE_SECONDS, open_spool
from collector.spool.overview import products as known_products
from collector.spool.upkeep import keep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from collector.announcements import Show
    from collector.config.model import Config
    from collector.host.logs import Log
    from collector.spool.identity import Epoch
    from collector.spool.spool import Spool
    from collector.spool.stages import Told

NOTICE_SECONDS = 10.0
"""What a stop may take beyond its two deadlines."""

REFRESH_SECONDS = 10.0
"""Between two looks for rotated secrets."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What `run` is given."""

    config: Config
    environ: Mapping[str, str]
    log: Log
    load: Callable[[], Config]
    inherited: Inherited
    show: Show | None


def run(
    config: Config,
    environ: Mapping[str, str],
    log: Log,
    load: Callable[[], Config],
    inherited: Inherited | None = None,
    show: Show | None = None,
) -> None:
    """Run until SIGTERM or SIGINT; a second one abandons what is in hand.

    Args:
        config: what to begin with.
        environ: of the process.
        log: its log.
        load: reads the configuration again, for a reload.
        inherited: listening sockets that the service manager made.
        show: shows a person how far a salvage is.

    Raises:
        WaystationError: it could not start, or go on.
    """
    return_large_blocks()
    garbage.settle_in()
    try:
        given = _Given(config, environ, log, load, inherited or Inherited(), show)
        trio.run(_run, given, strict_exception_groups=True)
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(error: BaseException) -> BaseException:
    """The one of Waystation's own errors that a group stands for, else the first of any."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    own = error.subgroup(WaystationError)
    return _first((own or error).exceptions[0])


class _Stop:
    """What signals ask for.

    Attributes:
        asked: set by the first SIGTERM.
        scopes: cancelled by the second one.
        reload: what SIGHUP does.
    """

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.scopes: list[trio.CancelScope] = []
        self.reload: Callable[[], None] = _nothing

    def ask(self) -> None:
        """Stop, or stop at once."""
        if self.asked.is_set():
            for scope in self.scopes:
                scope.cancel()
        self.asked.set()


def _nothing() -> None:
    """Reload nothing."""


async def _run(given: _Given) -> None:
    stop = _Stop()
    notify = Notifier(given.environ)
    async with trio.open_nursery() as background:
        await background.start(_watch, stop)
        background.start_soon(keep_short, given.environ)
        await _run_spool(given, stop, notify)
        background.cancel_scope.cancel()
    structlog.get_logger().info("stopped")
    given.log.flush(everything=True)


async def _watch(stop: _Stop, *, task_status: trio.TaskStatus[None]) -> None:
    def reload() -> None:
        stop.reload()  # as it is by then

    await watch(stop=stop.ask, reload=reload, task_status=task_status)


async def _run_spool(given: _Given, stop: _Stop, notify: Notifier) -> None:
    config, environ = given.config, given.environ
    clocks = Clocks()
    trio.socket.set_custom_hostname_resolver(Names())
    async with AsyncExitStack() as stack:
        # A migration, or what is left of a damaged spool, takes as long as it takes.
        with (
            notify.starting("opening the spool"),
            salvage_progress(notify.status, trio.current_time, given.show) as told,
        ):
            spool = await stack.enter_async_context(_open_spool(config, clocks, told))
        announce_salvage(spool)
        senders = {
            upstream.name: make_sender(upstream, config, environ, clocks) for upstream in config.upstream
        }
        chances = Chances(
            wall_ms=clocks.wall_ms,
            chance=secrets.SystemRandom().random,
            batch_id=lambda: secrets.token_hex(16),
            heard=clocks.heard,
        )
        tap = Tap()
        forwarder = Forwarder(spool, config.upstream, senders, chances, tap)
        stack.push_async_callback(forwarder.aclose)
        spool.on_growth = forwarder.grown
        shared = Shared(
            config=config,
            spool=spool,
            forwarder=forwarder,
            status=ApiStatus(),
            capacity=capacity(config),
            keys=ProductKeys(await spool.read(known_products), config),
            products=ProductSecrets(config.product, environ),
            now_ms=clocks.wall_ms,
            environ=environ,
            inherited=given.inherited,
            tap=tap,
        )
        running = Running(
            config, environ, clocks, forwarder, shared, given.log, tokens=admin_tokens(config, environ)
        )
        stack.callback(running.close)
        reloader = Reloader(running, given.load, notify.reload)
        reloader.operator = operator(running, reloader)
        for listener in config.listener:
            running.fronts.append(client_front(listener, shared))
        for address in config.admin.bind:
            running.fronts.append(admin_front(address, reloader.operator, shared))
        announce_unclaimed(given.inherited.close())
        stack.callback(given.inherited.close)
        stop.reload = reloader.ask
        stack.callback(setattr, stop, "reload", _nothing)
        async with trio.open_nursery() as upkeep:
            upkeep.start_soon(spool.sound)
            upkeep.start_soon(keep, spool)
            upkeep.start_soon(_watch_secrets, forwarder)
            upkeep.start_soon(_refresh, running)
            upkeep.start_soon(supervise, notify, spool)
            await _serve(running, reloader, notify, stop)
            upkeep.cancel_scope.cancel()


async def _serve(running: Running, reloader: Reloader, notify: Notifier, stop: _Stop) -> None:
    async with trio.open_nursery() as lanes:
        stop.scopes.append(lanes.cancel_scope)
        lanes.start_soon(running.forwarder.run)
        async with trio.open_nursery() as intake:
            stop.scopes.append(intake.cancel_scope)
            reloader.intake = intake
            for front in running.fronts:
                await intake.start(front.server.run)
            async with trio.open_nursery() as reloads:
                reloads.start_soon(reloader.run)
                announce(running.config, running.fronts)
                notify.ready()
                await stop.asked.wait()
                reloader.stopping = True
                reloads.cancel_scope.cancel()
            drain_timeout = running.config.drain_timeout
            notify.stopping(within=drain_timeout + CLOSE_SECONDS + NOTICE_SECONDS)
            structlog.get_logger().info("stopping", drain_timeout=drain_timeout)
            running.forwarder.stop(drain_timeout=drain_timeout)
            for front in running.fronts:
                front.server.stop(trio.current_time() + drain_timeout)


def _open_spool(config: Config, clocks: Clocks, told: Told) -> AbstractAsyncContextManager[Spool]:
    def times(epoch: Epoch | None) -> Clocks:
        if epoch is not None:
            clocks.take_up(epoch.kept, epoch.boot)
        return clocks

    return open_spool(spool_options(config), times, machine=this_machine(), device=config.device, told=told)


async def _watch_secrets(forwarder: Forwarder) -> None:
    """Have the lanes of an upstream try at once when one of its keys or certificates was replaced."""
    while True:
        await trio.sleep(REFRESH_SECONDS)
        for name, sender in forwarder.senders().items():
            if isinstance(sender, RotatesKeys) and sender.rotated():
                structlog.get_logger().info("secrets_replaced", upstream=name)
                forwarder.hurry(name)


async def _refresh(running: Running) -> None:
    """Look for rotated secrets now and then, and tell what the log has counted."""
    while True:
        await trio.sleep(REFRESH_SECONDS)
        running.shared.products.refresh()
        for front in running.fronts:
            front.refresh()
        running.shared.keys.tell()
        running.log.flush()
