"""launchd: a property list for a daemon of the machine, or an agent of a user.

There is no readiness and no watchdog. What starts at boot has no user's session; an agent runs
while its user is logged in.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET

from collector.config import accounts
from collector.config.addresses import TcpAddress, UnixAddress
from collector.config.paths import SYSTEM_HOME, SYSTEM_RUNTIME
from collector.errors import ServiceError
from collector.host.launchd import SOCKET_NAMES
from collector.host.service import job
from collector.host.service.launchctl import JobName, Kickstart, Load, Unload
from collector.host.service.leavings import leavings, purged, sockets_gone
from collector.host.service.sites import configuration
from collector.host.service.steps import AfterChange, MakeDirectory, Plan, Remove, Run, Write

if TYPE_CHECKING:
    from collections.abc import Callable

    from msgspec import UnsetType

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
        system = wish.scope == "system"
        name = _job(wish)
        steps: list[Step] = [*(_account(wish) if system else ())]
        steps += [
            MakeDirectory(_log(wish).parent, 0o750 if system else 0o700, _owner(wish)),
            *(MakeDirectory(directory, 0o755, _owner(wish)) for directory in _socket_directories(wish)),
            Write(_listing(wish), job.text(described(wish))),
            Run(("launchctl", "enable", str(name))),  # whoever disabled it wants it now
            # launchd reads the list when it is loaded, and never again.
            AfterChange(Unload(name)),
            Load(name, _listing(wish)),
            Kickstart(name),
        ]
        notes = ["it runs; `waystation service status` shows it"]
        if system:
            notes.append(
                "users whose apps hand over events on the UNIX socket: "
                f"dseditgroup -o edit -a USER -t user {ACCOUNT}, then log in anew"
            )
        return Plan(tuple(steps), tuple(notes), mark=_mark(wish))

    def uninstall(self, wish: Wish, *, purge: bool) -> Plan:
        """Unloaded, and the property list gone."""
        steps: list[Step] = [
            Unload(_job(wish)),
            Remove(_listing(wish)),
            Remove(_mark(wish)),
            *sockets_gone(wish),
        ]
        steps += [*purged(wish), Remove(_log(wish).parent)] if purge else ()
        notes = ["the spool and its events are gone"] if purge else []
        if wish.scope == "system":
            notes.append(
                f"the account {ACCOUNT} and its group remain: sysadminctl -deleteUser {ACCOUNT} and "
                f"dseditgroup -o delete {ACCOUNT} remove them"
            )
        return Plan(tuple(steps), tuple(notes), remains=leavings(wish, purge=purge, logs=_log(wish).parent))

    def start(self, wish: Wish) -> Plan:
        """Loaded, where it is not."""
        listing = _installed(wish)
        return Plan((Load(_job(wish), listing), Kickstart(_job(wish))))

    def stop(self, wish: Wish) -> Plan:
        """Unloaded: only so launchd lets go of the sockets."""
        _installed(wish)
        return Plan((Unload(_job(wish)),), ("clients are refused until it is started",))

    def status_command(self, wish: Wish) -> tuple[str, ...]:
        """What launchctl shows."""
        _installed(wish)
        return ("launchctl", "print", str(_job(wish)))

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
        sockets=_sockets(wish),
        standard_error_path=str(_log(wish)),
        user_name=account,
        group_name=account,
    )


def _sockets(wish: Wish) -> dict[str, job.SocketEntry | tuple[job.SocketEntry, ...]]:
    """By the names that the daemon asks for; several of one kind share a name."""
    found: dict[str, list[job.SocketEntry]] = {name: [] for name in SOCKET_NAMES}
    unix, http, http6 = SOCKET_NAMES
    for listener in wish.config.listener:
        address = listener.address
        if not isinstance(address, TcpAddress):
            found[unix].append(_unix_socket(wish, listener, address.path))
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


def _unix_socket(wish: Wish, listener: Listener, path: str) -> job.SocketEntry:
    """Made by launchd, which is root: whose it is has to be said, in numbers."""
    owner: int | UnsetType = UNSET
    group: int | UnsetType = UNSET
    if wish.scope == "system":
        owner = _number(accounts.user_id, ACCOUNT)
        group = _number(accounts.group_id, ACCOUNT)
    if listener.group is not None:
        try:
            group = accounts.group_id(listener.group)
        except KeyError:
            raise ServiceError(f"there is no group {listener.group}, which is to own {path}") from None
    return job.SocketEntry(
        sock_path_name=path, sock_path_mode=listener.mode, sock_path_owner=owner, sock_path_group=group
    )


def _number(find: Callable[[str], int], name: str) -> int:
    """Of an account that may be made only when the plan is carried out."""
    try:
        return find(name)
    except KeyError:
        return ACCOUNT_ID


def _job(wish: Wish) -> JobName:
    return JobName("system" if wish.scope == "system" else f"gui/{wish.uid}", job.LABEL)


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
    parents = {
        Path(address.path).parent
        for listener in wish.config.listener
        if isinstance(address := listener.address, UnixAddress)
    }
    return [wish.below_root(str(parent)) if wish.scope == "system" else parent for parent in sorted(parents)]


def _account(wish: Wish) -> list[Step]:
    number = str(ACCOUNT_ID)
    group = ("dseditgroup", "-o", "create", "-i", number, ACCOUNT)
    user = ("sysadminctl", "-addUser", ACCOUNT, "-roleAccount", "-UID", number, "-GID", number)
    return [
        Run(group, unless=("dscl", ".", "-read", f"/Groups/{ACCOUNT}")),
        # It leaves with 0 where it has failed, too.
        Run(
            (*user, "-shell", "/usr/bin/false", "-home", "/var/empty"),
            unless=("dscl", ".", "-read", f"/Users/{ACCOUNT}"),
        ),
        # To be passed through on the way to the socket, not to be looked into.
        MakeDirectory(wish.below_root(str(SYSTEM_HOME["darwin"])), 0o711, _owner(wish)),
        MakeDirectory(wish.below_root("/etc/waystation")),
        *configuration(wish, "darwin"),
    ]


def _mark(wish: Wish) -> Path:
    """Of an installation that has not come to its end; a name that launchd passes over."""
    return _listing(wish).with_name(f".{job.LABEL}.unfinished")
