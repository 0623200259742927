"""launchd: a property list for a daemon of the machine, or an agent of a user.

There is no readiness and no watchdog. What starts at boot has no user's session; an agent runs
while its user is logged in.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET

from collector.config.addresses import TcpAddress
from collector.errors import ServiceError
from collector.host.launchd import SOCKET_NAMES
from collector.host.service import job
from collector.host.service.sites import SYSTEM_HOME, SYSTEM_RUNTIME
from collector.host.service.steps import MakeDirectory, Plan, Remove, Run, Write

if TYPE_CHECKING:
    from collector.config.model import Listener
    from collector.host.service.sites import Wish
    from collector.host.service.steps import Step

ACCOUNT = "_waystation"
ACCOUNT_ID = 461
"""Apple keeps 450 to 499 for the accounts of services that an administrator adds."""


class Launchd:
    """Both the machine's daemons and a user's agents."""

    def install(self, wish: Wish) -> Plan:
        """The property list; loaded, which starts it."""
        listing = _listing(wish)
        steps: list[Step] = [*(_account(wish) if wish.scope == "system" else ())]
        steps += [
            MakeDirectory(_log(wish).parent, 0o750 if wish.scope == "system" else 0o700, _owner(wish)),
            *(MakeDirectory(directory, 0o755, _owner(wish)) for directory in _socket_directories(wish)),
            Write(listing, job.text(described(wish))),
            # launchd reads the list when it is loaded, and never again.
            Run(("launchctl", "bootout", f"{_domain(wish)}/{job.LABEL}"), may_fail=True, if_changed=True),
            *_loaded(wish),
        ]
        return Plan(tuple(steps), ("it runs; `waystation service status` shows it",))

    def uninstall(self, wish: Wish, *, purge: bool) -> Plan:
        """Unloaded, and the property list gone."""
        steps: list[Step] = [
            Run(("launchctl", "bootout", f"{_domain(wish)}/{job.LABEL}"), may_fail=True),
            Remove(_listing(wish)),
        ]
        spool = Path(wish.config.state_dir)
        if purge:
            steps += [Remove(spool), Remove(_log(wish).parent)]
            notes = ["the spool and its events are gone"]
        else:
            notes = [
                f"the events are kept: {spool} (uninstall --purge removes them)",
                f"so are the logs: {_log(wish).parent}",
            ]
        if wish.scope == "system":
            notes.append(f"the account {ACCOUNT} remains: sysadminctl -deleteUser {ACCOUNT} removes it")
        return Plan(tuple(steps), tuple(notes))

    def start(self, wish: Wish) -> Plan:
        """Loaded, where it is not."""
        _installed(wish)
        return Plan(_loaded(wish))

    def stop(self, wish: Wish) -> Plan:
        """Unloaded: only so launchd lets go of the sockets."""
        _installed(wish)
        bootout = Run(("launchctl", "bootout", f"{_domain(wish)}/{job.LABEL}"), may_fail=True)
        return Plan((bootout,), ("clients are refused until it is started",))

    def status_command(self, wish: Wish) -> tuple[str, ...]:
        """What launchctl shows."""
        _installed(wish)
        return ("launchctl", "print", f"{_domain(wish)}/{job.LABEL}")

    def logs_command(self, wish: Wish, *, lines: int, follow: bool) -> tuple[str, ...]:
        """The end of the log's file."""
        return ("tail", "-n", str(lines), *(("-F",) if follow else ()), str(_log(wish)))


def described(wish: Wish) -> job.Job:
    """The job that runs the daemon.

    Raises:
        ServiceError: it cannot be one of launchd's.
    """
    system = wish.scope == "system"
    given = (str(SYSTEM_HOME["darwin"]), str(SYSTEM_RUNTIME["darwin"]))
    places = dict(zip(("STATE_DIRECTORY", "RUNTIME_DIRECTORY"), given, strict=True)) if system else {}
    account = ACCOUNT if system else UNSET
    return job.Job(
        label=job.LABEL,
        program_arguments=wish.command,
        environment_variables=places,
        sockets=_sockets(wish.config.listener),
        standard_error_path=str(_log(wish)),
        user_name=account,
        group_name=account,
    )


def _sockets(listeners: tuple[Listener, ...]) -> dict[str, job.SocketEntry | tuple[job.SocketEntry, ...]]:
    """By the names that the daemon asks for; several of one kind share a name."""
    found: dict[str, list[job.SocketEntry]] = {name: [] for name in SOCKET_NAMES}
    unix, http, http6 = SOCKET_NAMES
    for listener in listeners:
        address = listener.address
        if not isinstance(address, TcpAddress):
            entry = job.SocketEntry(sock_path_name=address.path, sock_path_mode=listener.mode)
            found[unix].append(entry)
            continue
        for host in address.hosts if address.port else ():
            six = ":" in host
            entry = job.SocketEntry(
                sock_family="IPv6" if six else "IPv4",
                sock_node_name=host,
                sock_service_name=str(address.port),
            )
            found[http6 if six else http].append(entry)
    return {
        name: entries[0] if len(entries) == 1 else tuple(entries)
        for name, entries in found.items()
        if entries
    }


def _loaded(wish: Wish) -> tuple[Step, ...]:
    return (
        Run(("launchctl", "bootstrap", _domain(wish), str(_listing(wish))), may_fail=True),  # it may be
        Run(("launchctl", "kickstart", f"{_domain(wish)}/{job.LABEL}")),
    )


def _domain(wish: Wish) -> str:
    return "system" if wish.scope == "system" else f"gui/{wish.uid}"


def _listing(wish: Wish) -> Path:
    if wish.scope == "system":
        return wish.below_root(f"/Library/LaunchDaemons/{job.LABEL}.plist")
    return wish.home / f"Library/LaunchAgents/{job.LABEL}.plist"


def _installed(wish: Wish) -> Path:
    listing = _listing(wish)
    if not listing.exists():
        raise ServiceError("the service is not installed: `waystation service install` does that")
    return listing


def _log(wish: Wish) -> Path:
    if wish.scope == "system":
        return wish.below_root("/Library/Logs/waystation/waystation.log")
    return wish.home / "Library/Logs/waystation/waystation.log"


def _owner(wish: Wish) -> str:
    return f"{ACCOUNT}:{ACCOUNT}" if wish.scope == "system" else ""


def _socket_directories(wish: Wish) -> list[Path]:
    """Those of the sockets: launchd makes none, and its job would find no socket."""
    paths = [listener.bind.removeprefix("unix:") for listener in wish.config.listener]
    parents = {Path(path).parent for path in paths if path.startswith("/")}
    return [wish.below_root(str(parent)) if wish.scope == "system" else parent for parent in sorted(parents)]


def _account(wish: Wish) -> list[Step]:
    add = (
        "sysadminctl",
        "-addUser",
        ACCOUNT,
        "-roleAccount",
        "-UID",
        str(ACCOUNT_ID),
        "-shell",
        "/usr/bin/false",
    )
    return [
        Run(("dseditgroup", "-o", "create", "-i", str(ACCOUNT_ID), ACCOUNT), may_fail=True),
        Run((*add, "-GID", str(ACCOUNT_ID), "-home", "/var/empty"), may_fail=True),
        MakeDirectory(wish.below_root(str(SYSTEM_HOME["darwin"])), 0o755, f"{ACCOUNT}:{ACCOUNT}"),
        MakeDirectory(wish.below_root("/etc/waystation")),
    ]
