"""Reloading: another configuration, taken up whole or not at all, while everything runs.

What can fail is done first and undone where something later fails: the file is read and
checked, senders are made, listeners bound, secrets read, and last the spool is told, in one
transaction. What follows cannot fail, and happens between two turns of the event loop.

No connection is dropped and no event lost by it: a listener that stays keeps its socket and its
connections, one that leaves answers what is in hand, and an attempt that is under way ends as
it began, or is made again with the same batch.
"""

from __future__ import annotations

import dataclasses
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from collector.admin.families import LAST_RELOAD_OK, LOADED_AT, RELOADS
from collector.errors import ReloadRefused, WaystationError
from collector.fronts import admin_front, client_front, serve_clients
from collector.listener.products import ProductSecrets
from collector.parts import admin_tokens, make_sender, spool_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from collector.admin.readings import Reading
    from collector.config.model import Config
    from collector.forwarder.forwarder import Forwarder
    from collector.forwarder.surroundings import Sender
    from collector.fronts import Front, Operator, Shared
    from collector.host.clock import Clocks
    from collector.host.logs import Log


@dataclass(slots=True)
class Running:
    """What runs, and by which configuration.

    Attributes:
        fronts: those that serve now.
        tokens: of the admin listeners on TCP.
    """

    config: Config
    environ: Mapping[str, str]
    clocks: Clocks
    forwarder: Forwarder
    shared: Shared
    log: Log
    fronts: list[Front] = field(default_factory=list)
    tokens: tuple[bytes, ...] = ()

    def close(self) -> None:
        """Close all sockets."""
        for front in self.fronts:
            front.close()


class Reloader:
    """Takes up what the configuration has become.

    Args:
        running: what is changed.
        load: reads the configuration again.
        telling: tells the service manager, for as long as a reload takes.

    Attributes:
        refused: why the last reload was; empty where it was not.
        stopping: whether it is too late for one.
        operator: what new admin listeners show.
        intake: where new listeners run.
    """

    def __init__(
        self,
        running: Running,
        load: Callable[[], Config],
        telling: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.refused = ""
        self.stopping = False
        self.operator: Operator
        self.intake: trio.Nursery
        self._running = running
        self._load = load
        self._telling = telling
        self._turn = trio.Lock()
        self._asked = trio.Event()
        self._counts = {"applied": 0, "refused": 0}
        self._loaded_ms = running.clocks.wall_ms()

    def ask(self) -> None:
        """Have `run` reload; asked again before it has begun is asked once."""
        self._asked.set()

    async def run(self) -> None:
        """Reload whenever asked, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            try:
                await self.reload()
            except WaystationError:
                continue  # the log has it, and nothing has changed
            except Exception as error:  # noqa: BLE001 (a defect here must not end what runs well)
                structlog.get_logger().error("reload_failed", exc_info=error)

    async def reload(self) -> list[str]:
        """Reload; one at a time.

        Returns:
            The tables of the configuration that changed.

        Raises:
            WaystationError: why not; nothing has changed.
        """
        log = structlog.get_logger()
        async with self._turn:
            try:
                with self._telling():
                    changed = await self._reload()
            except (WaystationError, OSError) as error:
                self.refused = "; ".join(str(error).splitlines())
                self._counts["refused"] += 1
                # What is wrong is told; where it came up would not help.
                log.error("reload_refused", reason=self.refused)  # noqa: TRY400
                if isinstance(error, OSError):
                    raise ReloadRefused(self.refused) from error
                raise
            self.refused = ""
            self._counts["applied"] += 1
            self._loaded_ms = self._running.clocks.wall_ms()
            log.info("reloaded", changed=", ".join(changed) or "nothing")
            return changed

    def readings(self) -> Iterator[Reading]:
        """For the metrics."""
        for result, count in self._counts.items():
            yield RELOADS, (result,), count
        yield LAST_RELOAD_OK, (), not self.refused
        yield LOADED_AT, (), self._loaded_ms / 1000

    async def _reload(self) -> list[str]:
        running = self._running
        config = await trio.to_thread.run_sync(self._load)
        fixed = needs_restart(running.config, config)
        if fixed:
            raise ReloadRefused(f"{', '.join(fixed)} can only be changed by a restart; nothing was changed")
        async with AsyncExitStack() as undo:
            senders: dict[str, Sender] = {}
            for upstream in config.upstream:
                if upstream.name in changed_upstreams(running.config, config):
                    make = partial(make_sender, upstream, config, running.environ, running.clocks)
                    sender = await trio.to_thread.run_sync(make)
                    undo.push_async_callback(sender.aclose)
                    senders[upstream.name] = sender
            tokens = await trio.to_thread.run_sync(admin_tokens, config, running.environ)
            products = await trio.to_thread.run_sync(ProductSecrets, config.product, running.environ)
            shared = dataclasses.replace(running.shared, config=config)
            fronts, opened = self._open_fronts(config, shared, undo)
            await shared.spool.change(spool_options(config))
            if self.stopping:
                raise ReloadRefused("the daemon is stopping")
            undo.pop_all()
        before = running.config
        running.config, running.shared, running.tokens = config, shared, tokens
        shared.keys.change(config)
        shared.products.take_up(products)
        running.forwarder.change(config.upstream, senders, drain_timeout=config.drain_timeout)
        self._serve(before, fronts, opened)
        running.log.change(level=config.log.level, form=config.log.format, labels=config.labels)
        # What was waited for may be what has been put right.
        running.forwarder.hurry()
        return changed_tables(before, config)

    def _open_fronts(
        self, config: Config, shared: Shared, undo: AsyncExitStack
    ) -> tuple[list[Front], list[Front]]:
        """The fronts of a configuration: those that stay and those that are new; and the latter alone.

        Raises:
            BindError: one cannot be bound.
        """
        staying = list(self._running.fronts)
        fronts: list[Front] = []
        opened: list[Front] = []

        def front_for(name: str, open_it: Callable[[], Front], *, admin: bool) -> None:
            kept = next((front for front in staying if (front.name, front.admin) == (name, admin)), None)
            if kept is not None:
                staying.remove(kept)
                fronts.append(kept)
                return
            front = open_it()
            undo.callback(front.close)
            undo.callback(self._keep_inherited, front)
            fronts.append(front)
            opened.append(front)

        for listener in config.listener:
            front_for(listener.bind, partial(client_front, listener, shared), admin=False)
        for address in config.admin.bind:
            front_for(address, partial(admin_front, address, self.operator, shared), admin=True)
        return fronts, opened

    def _serve(self, before: Config, fronts: list[Front], opened: list[Front]) -> None:
        """Serve on these fronts from now on, and on no others."""
        running = self._running
        deadline = trio.current_time() + running.config.drain_timeout
        for front in running.fronts:
            if front not in fronts:
                self._keep_inherited(front)
                front.server.stop(deadline)
        running.fronts[:] = fronts
        rights = {(listener.bind, listener.mode, listener.group) for listener in before.listener}
        clients = [front for front in fronts if not front.admin]
        for front, listener in zip(clients, running.config.listener, strict=True):
            serve_clients(front, listener, running.shared)
            if (listener.bind, listener.mode, listener.group) not in rights:
                front.restrict(mode=listener.mode, group=listener.group)
        for front in opened:
            self.intake.start_soon(front.server.run)

    def _keep_inherited(self, front: Front) -> None:
        """Keep the sockets of the service manager that a front gives up: a later one may listen there."""
        for bound in front.sockets:
            if bound.inherited:
                with suppress(OSError):  # with no descriptor left, only a restart brings it back
                    self._running.shared.inherited.give_back(bound.sock.dup())


def needs_restart(old: Config, new: Config) -> list[str]:
    """The keys that differ and that a running daemon cannot take up."""
    keys = {
        "state_dir": (old.state_dir, new.state_dir),
        "device": (old.device, new.device),
        "spool.durability": (old.spool.durability, new.spool.durability),
        "spool.commit_interval": (old.spool.commit_interval, new.spool.commit_interval),
        "limits.max_connections": (old.limits.max_connections, new.limits.max_connections),
        "limits.max_connections_per_peer": (
            old.limits.max_connections_per_peer,
            new.limits.max_connections_per_peer,
        ),
        "limits.max_bodies_bytes": (old.limits.max_bodies_bytes, new.limits.max_bodies_bytes),
        "limits.listen_backlog": (old.limits.listen_backlog, new.limits.listen_backlog),
    }
    return [key for key, (before, after) in keys.items() if before != after]


def changed_upstreams(old: Config, new: Config) -> set[str]:
    """The names of the upstreams that are new, or that need another sender."""
    before = {upstream.name: upstream for upstream in old.upstream}
    changed = {upstream.name for upstream in new.upstream if before.get(upstream.name) != upstream}
    for upstream in new.upstream:
        relabelled = upstream.kind != "file" and old.labels != new.labels
        resigned = upstream.kind == "traintracks" and old.product != new.product
        if relabelled or resigned:
            changed.add(upstream.name)
    return changed


def changed_tables(old: Config, new: Config) -> list[str]:
    """The top-level keys whose values differ."""
    return [key for key in new.__struct_fields__ if getattr(old, key) != getattr(new, key)]
