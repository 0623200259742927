"""The configuration as the program sees it: frozen, complete, in bytes and seconds.

A field is a TOML key. What the docstrings say of a field is also what the JSON Schema
and the reference say of the key. Values are checked by `load.load`, not here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from collector.config.addresses import Address, TcpAddress, UnixAddress, parse_bind
from collector.config.fields import (
    DAY,
    GIB,
    HOUR,
    AuthMode,
    CredentialName,
    DeviceName,
    Duration,
    FileMode,
    FilePath,
    LabelName,
    LabelValue,
    ProductKey,
    SecretPath,
    Size,
    VariableName,
)
from collector.config.limits import Limits
from collector.config.secret import Secret, first_named
from collector.config.upstream import Backoff, NextKey, Timeouts, Upstream
from collector.core.limits import MIB

__all__ = [
    "Address",
    "Admin",
    "Backoff",
    "Config",
    "DeadLetters",
    "Limits",
    "Listener",
    "Log",
    "NextKey",
    "Product",
    "Secret",
    "Spool",
    "TcpAddress",
    "Timeouts",
    "UnixAddress",
    "Upstream",
    "parse_bind",
]


class Listener(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where apps hand over events.

    Attributes:
        bind: `localhost:PORT` (127.0.0.1 and ::1), one address and port, or `unix:/path`.
        auth: whether Traintracks requests must be signed; without it `required` on TCP
            and `if-present` on a UNIX socket, whose peers the kernel names.
        allowed_origins: web origins whose pages may post here; `null` for file pages.
        allowed_hosts: host names taken beyond localhost, 127.0.0.1 and [::1].
        allow_remote: whether `bind` may be an address that other machines reach.
        mode: permission bits of the UNIX socket.
        group: owner group of the UNIX socket; one of the daemon's own (under systemd, its unit's `Group=`).
        allow_users: who alone may use the UNIX socket, by name or number; with `allow_groups`
            empty too, whoever its mode lets in.
        allow_groups: groups whose members alone may use the UNIX socket, by name or number.
        quota_by_user: how much each user may hand over an hour, in bytes of bodies; beyond
            it 429. All that comes over TCP counts as one user's.
        token_file: file that holds the bearer token that posts here must carry.
        token_env: environment variable that holds it.
        token_credential: name of it in `$CREDENTIALS_DIRECTORY`.
        strict: whether warnings about Traintracks events are errors.
    """

    bind: str
    auth: AuthMode | None = None
    allowed_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    allow_remote: bool = False
    mode: FileMode = 0o660
    group: str | None = None
    allow_users: tuple[str, ...] = ()
    allow_groups: tuple[str, ...] = ()
    quota_by_user: Annotated[Size, Meta(ge=1)] | None = None
    token_file: SecretPath | None = None
    token_env: VariableName | None = None
    token_credential: CredentialName | None = None
    strict: bool = False

    @property
    def token(self) -> Secret | None:
        """Where the bearer token is, if there is one."""
        return first_named(self.token_file, self.token_env, self.token_credential)

    @property
    def address(self) -> Address:
        """`bind`, read."""
        return parse_bind(self.bind)

    @property
    def auth_mode(self) -> AuthMode:
        """`auth`, or what stands for it on this kind of socket."""
        if self.auth is not None:
            return self.auth
        return "if-present" if self.bind.startswith("unix:") else "required"


class Admin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where operators ask and steer.

    Attributes:
        bind: UNIX sockets (mode 0600) and loopback ports; without it one UNIX socket
            beside the first listener's default.
        exclusive: whether `PUT /v1/api-status` is taken here alone.
        token_file: file that holds the token which loopback ports ask for; without any of these
            one is made, and kept as `admin.token` in the state directory.
        token_env: environment variable that holds it.
        token_credential: name of it in `$CREDENTIALS_DIRECTORY`.
    """

    bind: tuple[str, ...] = ()
    exclusive: bool = False
    token_file: SecretPath | None = None
    token_env: VariableName | None = None
    token_credential: CredentialName | None = None

    @property
    def token(self) -> Secret | None:
        """Where the token is; None where it is one of the daemon's own making."""
        return first_named(self.token_file, self.token_env, self.token_credential)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """`bind`, read."""
        return tuple(parse_bind(bind) for bind in self.bind)


class Spool(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The events on disk.

    Attributes:
        max_bytes: quota for the database with its write-ahead log.
        max_age: how long an event waits before it expires.
        when_full: refuse new events (503), or drop the oldest.
        durability: whether each commit is synced to disk (`full`), or the last ones may
            be lost to a power cut (`normal`).
        commit_interval: how long a commit waits for more requests; spares flash, costs latency.
    """

    # The write-ahead log may reach 4 MiB, and settling a full spool needs a reserve as large.
    max_bytes: Annotated[Size, Meta(ge=16 * MIB)] = GIB
    max_age: Annotated[Duration, Meta(ge=60)] = 30 * DAY
    when_full: Literal["reject", "drop-oldest"] = "reject"
    durability: Literal["full", "normal"] = "full"
    commit_interval: Annotated[Duration, Meta(ge=0, le=10)] = 0.0


class DeadLetters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of events that an upstream refused; beyond a bound the oldest go.

    Attributes:
        max_count: how many are kept, of all lanes together.
        max_bytes: how much of them is kept; never more than a quarter of `spool.max_bytes`.
        max_age: how long one is kept.
    """

    max_count: Annotated[int, Meta(ge=0, le=100_000)] = 10_000
    max_bytes: Annotated[Size, Meta(ge=0)] = 64 * MIB
    max_age: Annotated[Duration, Meta(ge=60)] = 30 * DAY


class Product(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Traintracks product that apps here may send for.

    Attributes:
        key: its `X-Product-Key`.
        secret_file: file that holds its secret.
        secret_env: environment variable that holds its secret.
        secret_credential: name of its secret in `$CREDENTIALS_DIRECTORY`.
        next_secret_file: file that holds the secret that it will have; it need not be there yet. It is
            taken from apps too, and tried when an upstream answers 401.
        next_secret_env: environment variable that holds that secret.
        next_secret_credential: name of that secret in `$CREDENTIALS_DIRECTORY`.
        users: who alone may send for it, by name or number, and over UNIX sockets alone, where
            the kernel names them; empty for anyone.
    """

    key: ProductKey
    secret_file: SecretPath | None = None
    secret_env: VariableName | None = None
    secret_credential: CredentialName | None = None
    next_secret_file: SecretPath | None = None
    next_secret_env: VariableName | None = None
    next_secret_credential: CredentialName | None = None
    users: tuple[str, ...] = ()

    @property
    def secret(self) -> Secret:
        """Where its secret is.

        Raises:
            ValueError: nothing says where; a loaded configuration never does that.
        """
        secret = first_named(self.secret_file, self.secret_env, self.secret_credential)
        if secret is None:
            raise ValueError(f"product {self.key} has no secret")
        return secret

    @property
    def next_secret(self) -> Secret | None:
        """Where the secret is that it will have, if that is known."""
        return first_named(self.next_secret_file, self.next_secret_env, self.next_secret_credential)


class Log(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is told on standard error.

    Attributes:
        level: the least that is told; `debug` has what upstreams answer, which may repeat an event.
        format: `logfmt` for people and journald, `json` for collectors of logs.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["logfmt", "json"] = "logfmt"


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration of one daemon.

    Attributes:
        state_dir: directory of the spool; without it the platform's state directory.
        device: this device's id; without it one is made and kept.
        drain_timeout: how long a stopping daemon finishes what it has in hand.
        labels: names and values of your own, such as a site: on each metric and line of the log, and
            sent upstream as `Waystation-Labels`.
        listener: where apps hand over events.
        admin: where operators ask and steer.
        spool: the events on disk.
        dead_letters: what is kept of events that an upstream refused.
        product: the Traintracks products that apps here may send for.
        upstream: where events go.
        limits: what clients may make the daemon hold, read or wait for.
        log: what is told on standard error.
    """

    state_dir: FilePath
    device: DeviceName | None = None
    drain_timeout: Annotated[Duration, Meta(ge=0, le=HOUR)] = 10.0
    labels: Annotated[dict[LabelName, LabelValue], Meta(max_length=10)] = {}
    listener: tuple[Listener, ...] = ()
    admin: Admin = Admin()
    spool: Spool = Spool()
    dead_letters: DeadLetters = DeadLetters()
    product: tuple[Product, ...] = ()
    upstream: tuple[Upstream, ...] = ()
    limits: Limits = Limits()
    log: Log = Log()

    def takers(self, dialect: str, product: str = "") -> tuple[Upstream, ...]:
        """The upstreams that carry events of a dialect and product.

        Args:
            dialect: `samsara` or `traintracks`.
            product: the product's key; empty for Samsara.

        Returns:
            In the order of the configuration. None for a product that is not among those
            configured; while none is, only kind `file` can carry a product, since no
            secret is known to sign with.
        """
        carriers = tuple(upstream for upstream in self.upstream if dialect in upstream.takes)
        if dialect != "traintracks":
            return carriers
        if not self.product:
            return tuple(upstream for upstream in carriers if upstream.kind == "file")
        return carriers if any(known.key == product for known in self.product) else ()
