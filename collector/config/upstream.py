"""An upstream as the configuration describes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from collector.config.fields import (
    DAY,
    HOUR,
    CredentialName,
    Dialect,
    Duration,
    FilePath,
    KeyId,
    PinnedKey,
    SecretPath,
    Share,
    Signing,
    Size,
    Status,
    UpstreamKind,
    UpstreamName,
    VariableName,
)
from collector.config.redact import redact_url
from collector.config.secret import Secret, first_named
from collector.core.limits import KIB, MIB


class Backoff(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a lane waits between attempts.

    Attributes:
        initial: bound of the first random delay; it doubles with each failure.
        max: bound of every delay, and the interval at which a blocked lane probes.
    """

    initial: Annotated[Duration, Meta(gt=0, le=HOUR)] = 1.0
    max: Annotated[Duration, Meta(gt=0, le=DAY)] = 60.0


class Timeouts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long an attempt may take.

    Attributes:
        connect: for a connection with its TLS handshake.
        read: between two reads of the answer.
        write: between two writes of the request.
        pool: for a free connection.
        total: for a whole request with its answer, beyond the time that the body takes at 8 KiB/s
            (or at half of `rate_limit`, if that is less).
    """

    connect: Annotated[Duration, Meta(gt=0, le=HOUR)] = 10.0
    read: Annotated[Duration, Meta(gt=0, le=HOUR)] = 30.0
    write: Annotated[Duration, Meta(gt=0, le=HOUR)] = 30.0
    pool: Annotated[Duration, Meta(gt=0, le=HOUR)] = 10.0
    total: Annotated[Duration, Meta(gt=0, le=HOUR)] = 60.0


class NextKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The key that an upstream's signatures will be made with; tried when the present one gets 401.

    Attributes:
        key_id: its `keyid`; without it that of the upstream.
        key_file: file that holds an ed25519 private key in PEM; it need not be there yet.
        key_env: environment variable that holds that key.
        key_credential: name of that key in `$CREDENTIALS_DIRECTORY`.
        secret_file: file that holds a shared secret (hmac-sha256); it need not be there yet.
        secret_env: environment variable that holds that secret.
        secret_credential: name of that secret in `$CREDENTIALS_DIRECTORY`.
    """

    key_id: KeyId | None = None
    key_file: SecretPath | None = None
    key_env: VariableName | None = None
    key_credential: CredentialName | None = None
    secret_file: SecretPath | None = None
    secret_env: VariableName | None = None
    secret_credential: CredentialName | None = None

    @property
    def key(self) -> Secret | None:
        """Where the ed25519 key is, if it has one."""
        return first_named(self.key_file, self.key_env, self.key_credential)

    @property
    def secret(self) -> Secret | None:
        """Where the hmac-sha256 secret is, if it has one."""
        return first_named(self.secret_file, self.secret_env, self.secret_credential)


class Upstream(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where events go.

    Attributes:
        name: its identity; renaming it makes a new upstream.
        kind: what is spoken to it.
        url: the whole URL to post to.
        signing: how batches are signed; kind `samsara` must say, kind `traintracks` is
            always signed with the product's secret.
        key_id: the `keyid` of its signatures.
        key_file: file that holds an ed25519 private key in PEM.
        key_env: environment variable that holds that key.
        key_credential: name of that key in `$CREDENTIALS_DIRECTORY`.
        secret_file: file that holds a shared secret (hmac-sha256).
        secret_env: environment variable that holds that secret.
        secret_credential: name of that secret in `$CREDENTIALS_DIRECTORY`.
        next: the key that is tried when this one gets 401.
        allow_plaintext: whether `url` may be http:// to another machine.
        ca_file: certificates trusted beyond the system's, in PEM.
        pinned_keys: the upstream's public keys, as `sha256//BASE64`; with any, no other is trusted,
            whoever signed it.
        client_cert_file: the certificate, with those that lead to its CA, that is shown to the
            upstream, in PEM.
        client_key_file: file that holds that certificate's private key in PEM.
        client_key_credential: name of that key in `$CREDENTIALS_DIRECTORY`.
        proxy: URL of the HTTP proxy on the way; `none` for none. Without it the environment's
            `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy` count.
        http2: whether HTTP/2 is spoken where the upstream offers it.
        rate_limit: bytes a second that are sent at most, of bodies as they go out, by all
            lanes together.
        start: where a new upstream begins: with what comes (`tail`), or with what is there.
        dialects: what a `file` upstream takes.
        directory: where a `file` upstream writes.
        max_file_bytes: size at which a `file` upstream begins a new file.
        max_files: how many files a `file` upstream keeps before it waits.
        max_events: most events in a batch, and of one that is not compressed 20,000; for an upstream that
            has a limit of its own.
        max_batch_bytes: most bytes of a batch, before compression, and of one that is not compressed 8 MiB;
            how many of them it has depends on what the link rewards, and the upstream takes.
        max_bytes: what its lanes may hold in the spool together; without it, their share of
            `spool.max_bytes`.
        linger: how long a batch that is not full waits for more.
        late_after: age at which a Traintracks event is sent as data from the past.
        stamp_ids: whether Samsara events without an `id` are given one.
        compress: whether bodies are sent as gzip; without it yes for `samsara` alone.
        backoff: how long it waits between attempts.
        timeouts: how long an attempt may take.
        reject_limit: share of refused events at which the upstream is held to be at fault.
        failing_event: what becomes of an event that is answered 500 ten times by itself, when its batch was
            before: it holds its lane up until somebody decides (`hold`), or ends (`dead-letter`).
        success: statuses that mean delivered.
        retry: statuses that mean try again.
        block: statuses that mean wait for a person.
        reject: statuses that mean the events are at fault.
    """

    name: UpstreamName
    kind: UpstreamKind
    url: str | None = None
    signing: Signing | None = None
    key_id: KeyId | None = None
    key_file: SecretPath | None = None
    key_env: VariableName | None = None
    key_credential: CredentialName | None = None
    secret_file: SecretPath | None = None
    secret_env: VariableName | None = None
    secret_credential: CredentialName | None = None
    next: NextKey = NextKey()
    allow_plaintext: bool = False
    ca_file: FilePath | None = None
    pinned_keys: tuple[PinnedKey, ...] = ()
    client_cert_file: FilePath | None = None
    client_key_file: SecretPath | None = None
    client_key_credential: CredentialName | None = None
    proxy: str | None = None
    http2: bool = True
    rate_limit: Annotated[Size, Meta(ge=KIB)] | None = None
    start: Literal["tail", "oldest"] = "tail"
    dialects: tuple[Dialect, ...] = ("samsara", "traintracks")
    directory: FilePath | None = None
    max_file_bytes: Annotated[Size, Meta(ge=64 * KIB)] = 64 * MIB
    max_files: Annotated[int, Meta(ge=1, le=1_000_000)] = 10
    max_events: Annotated[int, Meta(ge=1, le=1_000_000)] = 250_000
    max_batch_bytes: Annotated[Size, Meta(ge=KIB, le=256 * MIB)] = 64 * MIB
    max_bytes: Annotated[Size, Meta(ge=MIB)] | None = None
    linger: Annotated[Duration, Meta(ge=0, le=HOUR)] = 0.0
    late_after: Annotated[Duration, Meta(gt=0, le=DAY)] = 60.0
    stamp_ids: bool = False
    compress: bool | None = None
    backoff: Backoff = Backoff()
    timeouts: Timeouts = Timeouts()
    reject_limit: Share = 0.2
    failing_event: Literal["hold", "dead-letter"] = "hold"
    success: tuple[Status, ...] | None = None
    retry: tuple[Status, ...] | None = None
    block: tuple[Status, ...] | None = None
    reject: tuple[Status, ...] | None = None

    def __repr__(self) -> str:
        return f"Upstream(name={self.name!r}, kind={self.kind!r}, url={redact_url(self.url or '')!r})"

    @property
    def takes(self) -> tuple[Dialect, ...]:
        """The dialects it carries."""
        return self.dialects if self.kind == "file" else (self.kind,)

    def files_below(self, state_dir: str | Path) -> Path:
        """Where a `file` upstream writes: its `directory`, or the one for it in the state directory."""
        return Path(self.directory or Path(state_dir, "events"))

    @property
    def compresses(self) -> bool:
        """`compress`, or what stands for it with this kind."""
        return self.kind == "samsara" if self.compress is None else self.compress

    @property
    def key(self) -> Secret | None:
        """Where its ed25519 key is, if it has one."""
        return first_named(self.key_file, self.key_env, self.key_credential)

    @property
    def secret(self) -> Secret | None:
        """Where its hmac-sha256 secret is, if it has one."""
        return first_named(self.secret_file, self.secret_env, self.secret_credential)

    @property
    def client_key(self) -> Secret | None:
        """Where the key of its client certificate is, if it has one."""
        return first_named(self.client_key_file, None, self.client_key_credential)
