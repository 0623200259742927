"""What a configuration asks for, made: at the start, and again by a reload for what changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from collector.admin.access import TOKEN_FILE, kept_token
from collector.forwarder.file import FileSender
from collector.spool.options import LetterBounds, SpoolOptions
from collector.spool.upstreams import Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.config.model import Config, Upstream
    from collector.forwarder.sender import HttpSender
    from collector.host.clock import Clocks

PATIENCE_SECONDS = 2.0
"""How long a request waits for room in a full spool before it is refused: an upstream that takes
events makes some within that, and the app's own patience is longer."""


def spool_options(config: Config) -> SpoolOptions:
    """How the spool is opened."""

    def wanted(upstream: Upstream) -> Wanted:
        return Wanted(
            name=upstream.name,
            kind=upstream.kind,
            from_oldest=upstream.start == "oldest",
            takes=lambda dialect, product: upstream in config.takers(dialect, product),
            max_bytes=upstream.max_bytes,
        )

    return SpoolOptions(
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


def make_sender(
    upstream: Upstream, config: Config, environ: Mapping[str, str], clocks: Clocks
) -> HttpSender | FileSender:
    """What carries batches to an upstream.

    Raises:
        UpstreamError: it cannot be used as configured.
    """
    if upstream.kind == "file":
        return FileSender(upstream.files_below(config.state_dir), upstream.max_file_bytes, upstream.max_files)
    from collector.forwarder.sender import HttpSender  # noqa: PLC0415 -- 5 MiB, for those who need HTTP

    return HttpSender(
        upstream,
        products={product.key: product for product in config.product},
        environ=environ,
        wall=lambda: clocks.wall_ms() / 1000,
        ticks=lambda: clocks.ticks_ms() / 1000,
        labels=config.labels,
    )


def admin_tokens(config: Config, environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """What admin listeners on TCP ask for; none where there is no such listener.

    Raises:
        SecretError: the token cannot be read.
        OSError: it cannot be made.
    """
    if all(address.startswith("unix:") for address in config.admin.bind):
        return ()
    if config.admin.token is not None:
        return (config.admin.token.read(environ),)
    return (kept_token(Path(config.state_dir) / TOKEN_FILE, environ),)
