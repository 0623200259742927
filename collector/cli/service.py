"""`waystation service install | uninstall | start | stop | status | logs`."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from collector.cli.options import config_option
from collector.errors import ServiceError, UsageError

if TYPE_CHECKING:
    from collector.host.service.sites import Manager, Wish
    from collector.host.service.steps import Plan

Scope = Literal["system", "user"]


@click.group()
def service() -> None:
    """Install the daemon as a service, start, stop and watch it.

    With systemd on Linux and launchd on macOS; for the whole machine (as root), or for
    one user. Where a package has installed the service, apt or rpm also removes it.
    """


user_option = click.option("--user", "scope", flag_value="user", help="The service of this user alone.")
system_option = click.option(
    "--system", "scope", flag_value="system", help="The machine's. [default: as root, else --user]"
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Print what it would do, and do nothing.")


@service.command("install")
@user_option
@system_option
@dry_run_option
@config_option
def install(config_path: Path | None, scope: Scope | None, *, dry_run: bool) -> None:
    """Install it, start it, and have it started at each boot.

    Again after the listeners of the configuration were changed: the service manager holds
    their sockets. Changes nothing that is as it should be.
    """
    manager, wish = _asked(scope, config_path)
    _do(manager.install(wish), wish, dry_run=dry_run)


@service.command("uninstall")
@user_option
@system_option
@dry_run_option
@click.option(
    "--purge",
    is_flag=True,
    help="Remove the spool too, with the events that wait in it; with --system, /etc/waystation as well.",
)
@config_option
def uninstall(config_path: Path | None, scope: Scope | None, *, dry_run: bool, purge: bool) -> None:
    """Stop it and remove it; events stay, and what remains is said."""
    manager, wish = _asked(scope, config_path)
    _do(manager.uninstall(wish, purge=purge), wish, dry_run=dry_run)


@service.command("start")
@user_option
@system_option
@dry_run_option
def start(scope: Scope | None, *, dry_run: bool) -> None:
    """Start it."""
    manager, wish = _asked(scope, None)
    _do(manager.start(wish), wish, dry_run=dry_run)


@service.command("stop")
@user_option
@system_option
@dry_run_option
def stop(scope: Scope | None, *, dry_run: bool) -> None:
    """Stop it, with its sockets, until the next boot or `start`."""
    manager, wish = _asked(scope, None)
    _do(manager.stop(wish), wish, dry_run=dry_run)


@service.command("status")
@user_option
@system_option
@dry_run_option
def status(scope: Scope | None, *, dry_run: bool) -> None:
    """Show what the service manager says of it."""
    manager, wish = _asked(scope, None)
    _become(manager.status_command(wish), dry_run=dry_run)


@service.command("logs")
@user_option
@system_option
@dry_run_option
@click.option(
    "-n", "--lines", type=click.IntRange(1), default=100, show_default=True, help="The last so many."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
def logs(scope: Scope | None, lines: int, *, dry_run: bool, follow: bool) -> None:
    """Show what it told."""
    manager, wish = _asked(scope, None)
    _become(manager.logs_command(wish, lines=lines, follow=follow), dry_run=dry_run)


def _asked(scope: Scope | None, config_path: Path | None) -> tuple[Manager, Wish]:
    from collector.config import paths  # noqa: PLC0415 - other commands must not pay for these
    from collector.config.load import load  # noqa: PLC0415
    from collector.host.service.sites import Wish, environment  # noqa: PLC0415

    uid = os.getuid()
    scope = scope or ("system" if uid == 0 else "user")
    environ = environment(scope, os.environ)
    path = None if config_path is None else config_path.absolute()
    own = paths.SYSTEM_CONFIG if scope == "system" else paths.default_config_file(environ)
    wish = Wish(
        scope=scope,
        program=_program(),
        config_path=path,
        config=load(path, environ, read_secrets=False),
        config_directory=own.parent,
        root=Path("/"),
        home=Path(environ.get("HOME") or Path.home()) if scope == "user" else Path("/"),
        uid=uid,
    )
    return _manager(), wish


def _manager() -> Manager:
    if sys.platform == "darwin":
        from collector.host.service.launchd import Launchd  # noqa: PLC0415 - macOS alone

        return Launchd()
    from collector.host.service.systemd import Systemd  # noqa: PLC0415 - Linux alone

    return Systemd()


def _program() -> Path:
    """This command, as it was called."""
    called = Path(sys.argv[0])
    found = str(called) if os.sep in sys.argv[0] else shutil.which(sys.argv[0]) or ""
    if not found or not os.access(found, os.X_OK):
        beside = Path(sys.executable).with_name("waystation")
        if not beside.exists():
            raise ServiceError(f"cannot tell where the `waystation` command is: {called} is none")
        return beside
    return Path(found).absolute()


def _do(plan: Plan, wish: Wish, *, dry_run: bool) -> None:
    from collector.host.service.steps import Remove, RemoveOwn, Write, carry_out  # noqa: PLC0415

    if dry_run:
        for step in plan.steps:
            click.echo(f"would {step}")
            if isinstance(step, Write):
                click.echo("".join(f"    {line}\n" for line in step.content.decode().splitlines()), nl=False)
        gone = {step.path for step in plan.steps if isinstance(step, Remove)}
        gone |= {step.directory for step in plan.steps if isinstance(step, RemoveOwn)}
        for left in plan.remains:
            if left.path.exists() and left.path not in gone:
                click.echo(f"would leave {left.path}")
        return
    if wish.scope == "system" and wish.uid != 0:
        raise UsageError("the machine's service needs root: sudo, or --user for one of your own")
    carry_out(plan, click.echo)


def _become(command: tuple[str, ...], *, dry_run: bool) -> None:
    """Let another program go on in this one's place."""
    if dry_run:
        click.echo(f"would run {' '.join(command)}")
        return
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell
    except OSError as error:
        raise ServiceError(f"cannot run {command[0]}: {error.strerror}") from None
