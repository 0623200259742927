"""`waystation run`."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from collector.cli.options import config_option
from collector.cli.progress import steps

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from collector.config.model import Config


@contextmanager
def without(*packages: str) -> Generator[None]:
    """Have what is imported meanwhile find that some packages are not installed.

    structlog and httpx take rich along, for terminals, wherever they find it: a fifth of the daemon's
    start, and several MB that it would hold for as long as it runs.
    """
    hidden = [package for package in packages if package not in sys.modules]
    for package in hidden:
        sys.modules[package] = None  # type: ignore[assignment]  # the documented way to have imports fail
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]


@click.command()
@config_option
def run(config_path: Path | None) -> None:
    """Run the daemon in the foreground, until SIGTERM or Ctrl-C.

    Without a configuration it listens on localhost:9000 and on a UNIX socket, and writes events
    to files below its state directory.
    """
    # Until the daemon listens for it, SIGHUP would end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Imported here: other commands must not pay for the daemon's imports.
    with without("rich", "pygments"):
        from collector import daemon  # noqa: PLC0415
        from collector.config.load import load  # noqa: PLC0415
        from collector.host import activation, logs  # noqa: PLC0415

    inherited = activation.inherited(os.environ)
    environ = dict(os.environ)
    config = load(config_path, environ)

    def again() -> Config:
        return load(config_path, environ)

    log = logs.Log(journal=logs.to_journal(environ))
    log.change(level=config.log.level, form=config.log.format, labels=config.labels)
    log.install()
    show = steps if sys.stderr.isatty() else None
    daemon.run(config, environ, log, again, inherited, show)
