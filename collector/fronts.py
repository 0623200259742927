"""Fronts: what each listener serves, to whom, and on which sockets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from collector.admin import letters, reload, tail, upstreams
from collector.admin.access import Access, SocketAccess
from collector.admin.endpoints import lanes_endpoint, live_endpoint, ready_endpoint, status_endpoint
from collector.admin.metrics import Counted, metrics_endpoint
from collector.admin.status import ListenerView
from collector.admin.upstreams import Desk
from collector.config.accounts import user_id
from collector.core.allowance import Allowances
from collector.core.limits import MAX_WAITING_CONNECTIONS
from collector.errors import BindError
from collector.host import descriptors
from collector.listener import api_status, contract, ingest
from collector.listener.admission import Admission
from collector.listener.bind import BoundSocket, bind
from collector.listener.capacity import Capacity
from collector.listener.one_at_a_time import OneAtATime
from collector.listener.policy import Counts, Dialect, Policy, UserCounts, fresh_counts
from collector.listener.routes import Site
from collector.listener.seats import Seats
from collector.listener.serve import Server
from collector.listener.token import BearerToken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from collector.admin.endpoints import StatusSource
    from collector.admin.metrics import Sources
    from collector.admin.page import Page
    from collector.config.model import Config, Listener
    from collector.core.tap import Tap
    from collector.forwarder.forwarder import Forwarder
    from collector.host.activation import Inherited
    from collector.listener.product_keys import ProductKeys
    from collector.listener.products import ProductSecrets
    from collector.listener.routes import Endpoint, Gate
    from collector.spool.spool import Spool

ADMIN_CONNECTIONS = 32
ADMIN_BODY_BYTES = 16 * 1024 * 1024
"""The admin listener has room of its own, so that a crowd of clients cannot lock the operator out."""

QUOTA_PERIOD = 3600.0
"""Seconds over which `quota_by_user` becomes whole again."""


@dataclass(slots=True, eq=False)
class Front:
    """A server, what it serves and where.

    Attributes:
        name: its `bind`, as configured.
        counts: of what brought events.
        admin: whether it is for operators.
        token: that apps have to show, if any.
    """

    name: str
    server: Server
    site: Site
    sockets: tuple[BoundSocket, ...]
    counts: dict[Dialect, Counts] = field(default_factory=fresh_counts)
    admin: bool = False
    token: BearerToken | None = None

    def refresh(self) -> None:
        """Look for a rotated token."""
        if self.token is not None:
            self.token.refresh()

    def close(self) -> None:
        """Close its sockets, served or not; more than once is allowed."""
        for bound in self.sockets:
            bound.close()

    def restrict(self, *, mode: int, group: str | None) -> None:
        """Set who may open its UNIX socket, where it is one."""
        for bound in self.sockets:
            try:
                bound.restrict(mode=mode, group=group)
            except (OSError, BindError) as error:
                _report(f"{bound.address}: its mode or group cannot be set", error)

    def counted(self) -> Counted:
        """What metrics are made of."""
        # Where the system chose the port, several may be configured alike.
        chosen = self.name.endswith(":0")
        return Counted(self._addresses() if chosen else self.name, self.site.tally, self.counts)

    def origins(self) -> list[str]:
        """Where a browser reaches it."""
        return [f"http://{bound.address}" for bound in self.sockets if not bound.address.startswith("unix:")]

    def _addresses(self) -> str:
        return ", ".join(bound.address for bound in self.sockets)

    def views(self) -> list[ListenerView]:
        """How it is now."""
        tally = self.site.tally
        return [
            ListenerView(
                address=self._addresses(),
                connections=tally.open,
                requests=sum(tally.answers.values()),
            )
        ]


@dataclass(frozen=True, slots=True)
class Shared:
    """What all listeners share.

    Attributes:
        keys: of products, that have brought events.
        products: by key, the secrets that are valid now.
        now_ms: wall time, ms since 1970.
        environ: of the process.
        inherited: listening sockets that the service manager made.
        tap: where events pass.
        users: what each user handed over, on all of them.
        worker: looks at bodies that take long, of all of them one at a time.
    """

    config: Config
    spool: Spool
    forwarder: Forwarder
    status: api_status.ApiStatus
    capacity: Capacity
    keys: ProductKeys
    products: ProductSecrets
    now_ms: Callable[[], int]
    environ: Mapping[str, str]
    inherited: Inherited
    tap: Tap
    users: UserCounts = field(default_factory=UserCounts)
    worker: OneAtATime = field(default_factory=OneAtATime)


def client_front(listener: Listener, shared: Shared) -> Front:
    """Where apps hand over events.

    Raises:
        BindError: it cannot be bound.
    """
    sockets = bind(
        listener.bind,
        mode=listener.mode,
        group=listener.group,
        inherited=shared.inherited,
        backlog=shared.config.limits.listen_backlog,
    )
    site = Site(routes={}, gate=Admission.of(listener), report=_report, wall_ms=shared.now_ms)
    server = Server(sockets, site, shared.capacity)
    front = Front(listener.bind, server, site, tuple(sockets))
    serve_clients(front, listener, shared)
    return front


def serve_clients(front: Front, listener: Listener, shared: Shared) -> None:
    """Have a front serve what a listener's configuration says; requests in hand end as they began."""
    limits = shared.config.limits
    policy = Policy(
        takes=lambda dialect, product: bool(shared.config.takers(dialect, product)),
        keys=shared.keys,
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
        intake=tail.WatchedIntake(shared.spool, shared.tap, shared.now_ms),
        policy=policy,
        wall_ms=shared.now_ms,
        counts=front.counts,
        users=shared.users,
        allowances=None if quota is None else Allowances(quota, QUOTA_PERIOD),
        worker=shared.worker,
    )
    front.token = None if listener.token is None else BearerToken(listener.token, shared.environ)
    front.site.gate = Admission.of(listener, front.token)
    front.site.limits = limits.connection
    front.site.routes = {
        ingest.PATH: {"POST": endpoint},
        api_status.PATH: shared.status.methods(settable=not shared.config.admin.exclusive),
        contract.PATH: contract.methods(),
    }


@dataclass(frozen=True, slots=True)
class Operator:
    """What the admin listeners show and steer.

    Attributes:
        config: the running one.
        why_not_ready: empty where the daemon is.
        tokens: what is asked for over TCP, the valid ones.
        reload: takes up what the configuration has become.
    """

    config: Callable[[], Config]
    source: StatusSource
    page: Page
    metrics: Sources
    why_not_ready: Callable[[], str]
    tokens: Callable[[], tuple[bytes, ...]]
    reload: Callable[[], Awaitable[list[str]]]


def admin_front(address: str, operator: Operator, shared: Shared) -> Front:
    """Where operators ask and steer: whoever may open the UNIX socket, over TCP whoever has the token.

    Raises:
        BindError: it cannot be bound.
    """
    routes: dict[str, Mapping[str, Endpoint]] = {
        "/livez": {"GET": live_endpoint()},
        "/readyz": {"GET": ready_endpoint(operator.why_not_ready)},
        "/metrics": {"GET": metrics_endpoint(operator.metrics)},
        api_status.PATH: shared.status.methods(settable=True),
        contract.PATH: contract.methods(),
        "/v1/status": {"GET": status_endpoint(operator.source)},
        reload.PATH: {"POST": reload.reload_endpoint(operator.reload)},
        "/v1/lanes": {"GET": lanes_endpoint(shared.spool)},
        **letters.routes(shared.spool),
        **upstreams.routes(Desk(operator.config, shared.spool, shared.forwarder, shared.now_ms)),
        **operator.page.routes(),
        tail.PATH: {"GET": tail.TailEndpoint(shared.tap)},
    }
    if address.startswith("unix:"):
        gate: Gate = SocketAccess()
    else:
        gate = Access(operator.tokens, operator.page.links)
    sockets = bind(address, mode=0o600, inherited=shared.inherited)
    site = Site(routes=routes, gate=gate, report=_report, wall_ms=shared.now_ms)
    seats = Seats(ADMIN_CONNECTIONS, ADMIN_CONNECTIONS, ADMIN_CONNECTIONS)
    server = Server(sockets, site, Capacity(seats, ADMIN_BODY_BYTES))
    return Front(address, server, site, tuple(sockets), admin=True)


def capacity(config: Config) -> Capacity:
    """What the client listeners may hold together."""
    limits = config.limits
    allowed = descriptors.allow(limits.max_connections + MAX_WAITING_CONNECTIONS)
    waiting = max(allowed - limits.max_connections, allowed // 4, 1)
    connections = max(1, allowed - waiting)
    if connections < limits.max_connections:
        structlog.get_logger().warning(
            "fewer_connections", allowed=connections, reason="the limit of open files is too low for more"
        )
    return Capacity(Seats(connections, limits.max_connections_per_peer, waiting), limits.max_bodies_bytes)


def _report(what: str, error: BaseException) -> None:
    # What the operating system refuses is no bug; of all else the place matters.
    trace = None if isinstance(error, OSError) else error
    structlog.get_logger().error(
        "listener", what=what, error=f"{type(error).__name__}: {error}", exc_info=trace
    )
