"""`waystation config`: check, show, schema."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from collector.cli.options import config_option
from collector.config import paths
from collector.config.load import load
from collector.config.redact import redact_url
from collector.config.schema import json_schema
from collector.config.show import as_tree, to_toml
from collector.config.units import format_duration, format_size
from collector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.config.model import Config, Upstream


@click.group(no_args_is_help=False)
def config() -> None:
    """Check and show the configuration."""


@config.command
@config_option
def check(config_path: Path | None) -> int:
    """Look for everything that is wrong with it; the daemon need not run.

    Prints `ok` and a summary, or each problem on a line of its own and leaves with 78.
    Secrets and keys are read, so run it as the user that the daemon runs as.
    """
    try:
        loaded = load(config_path, os.environ)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem))
        return error.exit_code
    click.echo("ok")
    file = paths.config_file(os.environ, config_path)
    click.echo(f"file       {'none, defaults' if file is None else file}")
    for line in _summary(loaded):
        click.echo(line)
    return 0


@config.command
@config_option
@click.option("--format", "form", type=click.Choice(["toml", "json"]), default="toml", show_default=True)
def show(config_path: Path | None, form: str) -> None:
    """Print the configuration that counts, defaults and environment included.

    Of secrets only the place is shown, of URLs all but user and password.
    """
    tree = as_tree(load(config_path, os.environ, read_secrets=False))
    if form == "json":
        click.echo(json.dumps(tree, indent=2, ensure_ascii=False))
    else:
        click.echo(to_toml(tree), nl=False)


@config.command
def schema() -> None:
    """Print the JSON Schema of the file, for editors."""
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def _summary(loaded: Config) -> Iterator[str]:
    spool = loaded.spool
    yield (
        f"spool      {loaded.state_dir}, at most {format_size(spool.max_bytes)} "
        f"and {format_duration(spool.max_age)}, then {spool.when_full}"
    )
    for listener in loaded.listener:
        yield f"listener   {listener.bind}, Traintracks signatures {listener.auth_mode}"
    for bind in loaded.admin.bind:
        yield f"admin      {bind}"
    for product in loaded.product:
        yield f"product    {product.key}"
    for upstream in loaded.upstream:
        yield f"upstream   {upstream.name}: {_destination(upstream)}"


def _destination(upstream: Upstream) -> str:
    if upstream.kind == "file":
        return f"{' and '.join(upstream.dialects)} to files in {upstream.directory}"
    signed = "signed with the product's secret"
    if upstream.kind == "samsara":
        signed = f"signed by {upstream.signing} as {upstream.key_id}" if upstream.key_id else "not signed"
    return f"{upstream.kind} to {redact_url(upstream.url or '')}, {signed}"
