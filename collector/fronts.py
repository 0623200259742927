"""Fronts: what each listener serves, to whom, and on which sockets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from collector.admin import letters
from collector.admin.status import ListenerView, live_endpoint, ready_endpoint, status_endpoint
from collector.listener import api_status, ingest
from collector.listener.admission import Admission
from collector.listener.bind import BoundSocket, bind
from collector.listener.capacity import Capacity
from collector.listener.routes import Site
from collector.listener.serve import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from collector.admin.status import StatusSource
    from collector.config.model import Config, Listener
    from collector.host.activation import Inherited
    from collector.listener.routes import Endpoint
    from collector.spool.spool import Spool

ADMIN_CONNECTIONS = 32
ADMIN_BODY_BYTES = 16 * 1024 * 1024
"""The admin listener has room of its own, so that a crowd of clients cannot lock the operator out."""

MAX_UNVERIFIED_PRODUCTS = 1000
"""While no product is configured any key is taken, but no more of them than this: each is a lane."""


@dataclass(frozen=True, slots=True)
class Front:
    """A server, what it serves and where."""

    server: Server
    site: Site
    sockets: tuple[BoundSocket, ...]

    def close(self) -> None:
        """Close its sockets, served or not; more than once is allowed."""
        for bound in self.sockets:
            bound.close()

    def views(self) -> list[ListenerView]:
        """How it is now."""
        tally = self.site.tally
        return [
            ListenerView(
                address=", ".join(bound.address for bound in self.sockets),
                connections=tally.open,
                requests=sum(tally.answers.values()),
            )
        ]


class Takers:
    """Which dialects and products any upstream takes.

    Args:
        known: products that the spool has events of already.
    """

    def __init__(self, config: Config, known: Sequence[str]) -> None:
        self._config = config
        self._products = set(known)

    def __call__(self, dialect: str, product: str) -> bool:
        """Whether events of this dialect and product go anywhere."""
        if not self._config.takers(dialect, product):
            return False
        if product and not self._config.product and product not in self._products:
            if len(self._products) >= MAX_UNVERIFIED_PRODUCTS:
                return False
            self._products.add(product)
        return True


@dataclass(frozen=True, slots=True)
class Shared:
    """What all listeners share.

    Attributes:
        products: by key, the secrets that are valid now.
        now_ms: wall time, ms since 1970.
        inherited: listening sockets that the service manager made.
    """

    config: Config
    spool: Spool
    status: api_status.ApiStatus
    capacity: Capacity
    takes: Takers
    products: Mapping[str, tuple[bytes, ...]]
    now_ms: Callable[[], int]
    inherited: Inherited


def client_front(listener: Listener, shared: Shared) -> Front:
    """Where apps hand over events.

    Raises:
        BindError: it cannot be bound.
    """
    policy = ingest.Policy(
        takes=shared.takes, secrets=shared.products, auth=listener.auth_mode, strict=listener.strict
    )
    endpoint = ingest.Ingest(intake=shared.spool, policy=policy, wall_ms=shared.now_ms)
    settable = not shared.config.admin.exclusive
    routes: dict[str, Mapping[str, Endpoint]] = {
        ingest.PATH: {"POST": endpoint},
        api_status.PATH: shared.status.methods(settable=settable),
    }
    sockets = bind(listener.bind, mode=listener.mode, group=listener.group, inherited=shared.inherited)
    site = Site(routes=routes, gate=Admission.of(listener), report=_report)
    return _front(sockets, site, shared.capacity)


def admin_front(address: str, source: StatusSource, shared: Shared) -> Front:
    """Where operators ask; over TCP only what needs no proof of who asks.

    Raises:
        BindError: it cannot be bound.
    """
    routes: dict[str, Mapping[str, Endpoint]] = {
        "/livez": {"GET": live_endpoint()},
        "/readyz": {"GET": ready_endpoint(shared.spool)},
        api_status.PATH: shared.status.methods(settable=True),
    }
    local = address.startswith("unix:")
    if local:
        routes["/v1/status"] = {"GET": status_endpoint(source)}
        routes |= letters.routes(shared.spool)
    sockets = bind(address, mode=0o600, inherited=shared.inherited)
    site = Site(routes=routes, gate=Admission(check_host=not local), report=_report)
    return _front(sockets, site, Capacity(ADMIN_CONNECTIONS, ADMIN_BODY_BYTES))


def _front(sockets: Sequence[BoundSocket], site: Site, capacity: Capacity) -> Front:
    return Front(Server(sockets, site, capacity), site, tuple(sockets))


def _report(what: str, error: BaseException) -> None:
    # What the operating system refuses is no bug; of all else the place matters.
    trace = None if isinstance(error, OSError) else error
    structlog.get_logger().error(
        "listener", what=what, error=f"{type(error).__name__}: {error}", exc_info=trace
    )
