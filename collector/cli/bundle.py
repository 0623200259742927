"""`waystation support-bundle`."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import click

from collector.cli.options import config_option
from collector.errors import UsageError


@click.command("support-bundle")
@config_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A new file. [default: waystation-support-TIME.tar.gz here]",
)
@click.option(
    "--log",
    "log_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The daemon's log, where it goes to a file. [default: the journal, where there is one]",
)
def support_bundle(config_path: Path | None, output: Path | None, log_file: Path | None) -> None:
    """Gather what helps from afar, without secrets or events, in one archive.

    Run it as the daemon's user or as root. Look into it before you send it: README.txt in it says what
    is there.
    """
    from collector.admin.redaction import Redaction  # noqa: PLC0415 - other commands must not pay for these
    from collector.cli.bundle_parts import gather, pack  # noqa: PLC0415

    environ = dict(os.environ)
    now = dt.datetime.now(dt.UTC)
    target = output or Path(f"waystation-support-{now:%Y%m%dT%H%M%SZ}.tar.gz")
    redaction = Redaction()
    parts = gather(config_path, environ, redaction, log_file=log_file)
    name = target.name.partition(".")[0]
    archive = pack({part: redaction.clean(content) for part, content in parts.items()}, name, now=now)
    try:
        # Nobody else's business, until its owner sends it.
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(archive)
    click.echo(f"{target}: {len(parts)} files; look into it before you send it")
