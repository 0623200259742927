"""Fronts: what each listener serves, to whom, and on which sockets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from collector.admin import letters, upstreams
from collector.admin.status import ListenerView, live_endpoint, ready_endpoint, status_endpoint
from collector.admin.upstreams import Desk
from collector.config.accounts import user_id
from collector.core.allowance import Allowances
from collector.host import descriptors
from collector.listener import api_status, contract, ingest
from collector.listener.admission import Admission
from collector.listener.bind import BoundSocket, bind
from collector.listener.capacity import Capacity
from collector.listener.policy import Policy, UserCounts
from collector.listener.routes import Site
from collector.listener.seats import Seats
from collector.listener.serve import Server
from collector.listener.token import BearerToken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from collector.admin.status import StatusSource
    from collector.config.model import Config, Listener
    from collector.forwarder.forwarder import Forwarder
    from collector.listener.routes import Endpoint
    from collector.spool.spool import Spool

ADMIN_CONNECTIONS = 32
ADMIN_BODY_BYTES = 16 * 1024 * 1024
"""The admin listener has room of its own, so that a crowd of clients cannot lock the operator out."""

QUOTA_PERIOD = 3600.0
"""Seconds over which `quota_by_user` becomes whole again."""

MAX_UNVERIFIED_PRODUCTS = 1000
"""While no product is configured any key is taken, but no more of them than this: each is a lane."""


@dataclass(frozen=True, slots=True)
class Front:
    """A server, what it serves and where, and the token that it asks for, if any."""

    server: Server
    site: Site
    sockets: tuple[BoundSocket, ...]
    token: BearerToken | None = None

    def refresh(self) -> None:
        """Look for a rotated token."""
        if self.token is not None:
            self.token.refresh()

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
        environ: of the process.
        users: what each user handed over, on all of them.
        worker: looks at bodies that take long, of all of them one at a time.
    """

    config: Config
    spool: Spool
    forwarder: Forwarder
    status: api_status.ApiStatus
    capacity: Capacity
    takes: Takers
    products: Mapping[str, tuple[bytes, ...]]
    now_ms: Callable[[], int]
    environ: Mapping[str, str]
    users: UserCounts = field(default_factory=UserCounts)
    worker: ingest.OneAtATime = field(default_factory=ingest.OneAtATime)


def client_front(listener: Listener, shared: Shared) -> Front:
    """Where apps hand over events.

    Raises:
        BindError: it cannot be bound.
    """
    limits = shared.config.limits
    policy = Policy(
        takes=shared.takes,
        secrets=shared.products,
        auth=listener.auth_mode,
        strict=listener.strict,
        users={
            product.key: frozenset(map(user_id, product.users))
            for product in shared.config.product
            if product.users
        },
        limits=limits.content,
    )
    quota = listener.quota_by_user
    endpoint = ingest.Ingest(
        intake=shared.spool,
        policy=policy,
        wall_ms=shared.now_ms,
        users=shared.users,
        allowances=None if quota is None else Allowances(quota, QUOTA_PERIOD),
        worker=shared.worker,
    )
    token = None if listener.token is None else BearerToken(listener.token, shared.environ)
    settable = not shared.config.admin.exclusive
    routes: dict[str, Mapping[str, Endpoint]] = {
        ingest.PATH: {"POST": endpoint},
        api_status.PATH: shared.status.methods(settable=settable),
        contract.PATH: contract.methods(),
    }
    sockets = bind(listener.bind, mode=listener.mode, group=listener.group)
    site = Site(
        routes=routes,
        gate=Admission.of(listener, token),
        limits=limits.connection,
        report=_report,
        wall_ms=shared.now_ms,
    )
    return _front(sockets, site, shared.capacity, token)


def admin_front(address: str, source: StatusSource, shared: Shared) -> Front:
    """Where operators ask; over TCP only what needs no proof of who asks.

    Raises:
        BindError: it cannot be bound.
    """
    routes: dict[str, Mapping[str, Endpoint]] = {
        "/livez": {"GET": live_endpoint()},
        "/readyz": {"GET": ready_endpoint(shared.spool)},
        api_status.PATH: shared.status.methods(settable=True),
        contract.PATH: contract.methods(),
    }
    local = address.startswith("unix:")
    if local:
        routes["/v1/status"] = {"GET": status_endpoint(source)}
        routes |= letters.routes(shared.spool)
        routes |= upstreams.routes(Desk(shared.config, shared.spool, shared.forwarder, shared.now_ms))
    sockets = bind(address, mode=0o600)
    site = Site(routes=routes, gate=Admission(check_host=not local), report=_report, wall_ms=shared.now_ms)
    return _front(sockets, site, Capacity(Seats(ADMIN_CONNECTIONS, ADMIN_CONNECTIONS), ADMIN_BODY_BYTES))


def capacity(config: Config) -> Capacity:
    """What the client listeners may hold together."""
    limits = config.limits
    connections = descriptors.allow(limits.max_connections)
    if connections < limits.max_connections:
        structlog.get_logger().warning(
            "fewer_connections", allowed=connections, reason="the limit of open files is too low for more"
        )
    return Capacity(Seats(connections, limits.max_connections_per_peer), limits.max_bodies_bytes)


def _front(
    sockets: Sequence[BoundSocket], site: Site, capacity: Capacity, token: BearerToken | None = None
) -> Front:
    return Front(Server(sockets, site, capacity), site, tuple(sockets), token)


def _report(what: str, error: BaseException) -> None:
    # What the operating system refuses is no bug; of all else the place matters.
    trace = None if isinstance(error, OSError) else error
    structlog.get_logger().error(
        "listener", what=what, error=f"{type(error).__name__}: {error}", exc_info=trace
    )
