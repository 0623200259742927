"""systemd: the units of `service/systemd`, with this installation's command and addresses in them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from collector.config.addresses import TcpAddress
from collector.errors import ServiceError
from collector.host.service.leavings import leavings, purged, sockets_gone
from collector.host.service.sites import configuration
from collector.host.service.steps import AfterChange, MakeDirectory, Plan, Remove, Run, Write

if TYPE_CHECKING:
    from collector.host.service.sites import Wish
    from collector.host.service.steps import Step

SERVICE = "waystation.service"
SOCKETS = ("waystation.socket", "waystation-http.socket", "waystation-http6.socket")
UNITS = (*SOCKETS, SERVICE)

PACKAGED = ("/lib/systemd/system/waystation.service", "/usr/lib/systemd/system/waystation.service")
"""Where the packages put the unit: then they are who installs and removes it."""

_NOT_LOADED = 5
"""How `systemctl stop` leaves where it has stopped what there was, but knows not all of the units."""


class Systemd:
    """Both the system's manager and a user's own."""

    def install(self, wish: Wish) -> Plan:
        """Units, user and directories; enabled and started.

        Raises:
            ServiceError: a package has it installed.
        """
        _refuse_packaged(wish)
        units = _units(wish)
        absent = [name for name in UNITS if name not in units]
        directory = _unit_directory(wish)
        steps: list[Step] = [*(_account(wish) if wish.scope == "system" else ())]
        steps += [Write(directory / name, text.encode()) for name, text in units.items()]
        steps += [Remove(directory / name) for name in absent]
        steps += [
            _systemctl(wish, "daemon-reload"),
            _systemctl(wish, "enable", *units),
            # A socket cannot take another address while its service runs.
            AfterChange(_stop(wish)),
            _systemctl(wish, "start", *units),
        ]
        notes = ["it runs, and will after each boot; `waystation service status` shows it"]
        if wish.scope == "system":
            notes.append("users whose apps hand over events: usermod -aG waystation USER, then log in anew")
        else:
            notes.append("to have it run while you are not logged in: loginctl enable-linger")
        return Plan(tuple(steps), tuple(notes), mark=_mark(wish))

    def uninstall(self, wish: Wish, *, purge: bool) -> Plan:
        """Units gone; the user stays, since files may be its own.

        Raises:
            ServiceError: a package has it installed.
        """
        _refuse_packaged(wish)
        directory = _unit_directory(wish)
        steps: list[Step] = [
            _stop(wish),
            *([_systemctl(wish, "disable", *there)] if (there := _present(wish)) else ()),
            *(Remove(directory / name) for name in UNITS),
            Remove(_mark(wish)),
        ]
        if wish.scope == "system":
            steps.append(Remove(wish.below_root("/etc/sysusers.d/waystation.conf")))
            steps.append(Remove(wish.below_root("/etc/tmpfiles.d/waystation.conf")))
            steps.append(Remove(wish.below_root("/run/waystation")))
        steps += [_systemctl(wish, "daemon-reload"), *sockets_gone(wish)]
        steps += purged(wish) if purge else ()
        notes = ["the spool and its events are gone"] if purge else []
        if wish.scope == "system":
            notes.append("the user and group `waystation` remain: userdel waystation removes them")
        return Plan(tuple(steps), tuple(notes), remains=leavings(wish, purge=purge))

    def start(self, wish: Wish) -> Plan:
        """Sockets and daemon."""
        return Plan((_systemctl(wish, "start", *_installed(wish)),))

    def stop(self, wish: Wish) -> Plan:
        """The sockets too, or the next client would start the daemon again."""
        return Plan(
            (_systemctl(wish, "stop", *_installed(wish)),), ("clients are refused until it is started",)
        )

    def status_command(self, wish: Wish) -> tuple[str, ...]:
        """What systemctl shows."""
        return (*_SYSTEMCTL[wish.scope], "status", "--no-pager", *_installed(wish))

    def logs_command(self, wish: Wish, *, lines: int, follow: bool) -> tuple[str, ...]:
        """The journal's."""
        whose = ("--user-unit",) if wish.scope == "user" else ("--unit",)
        return (
            "journalctl",
            *whose,
            SERVICE,
            "--lines",
            str(lines),
            *(("--follow",) if follow else ("--no-pager",)),
        )


_SYSTEMCTL = {"system": ("systemctl",), "user": ("systemctl", "--user")}


def _systemctl(wish: Wish, *arguments: str, fine: tuple[int, ...] = ()) -> Run:
    command = (*_SYSTEMCTL[wish.scope], *arguments)
    return Run(command, fine=fine, advice=_without_session(wish) if wish.scope == "user" else None)


def _without_session(wish: Wish) -> tuple[str, str]:
    """What systemctl says to who became a user without logging in, and what to do then."""
    advice = (
        "log in as the user itself, not by su or sudo; or run `loginctl enable-linger` for it as root, "
        f"set XDG_RUNTIME_DIR=/run/user/{wish.uid}, and try again"
    )
    return "connect to bus", advice


def _stop(wish: Wish) -> Run:
    """All that runs, also of an installation that had more sockets."""
    return _systemctl(wish, "stop", *UNITS, fine=(_NOT_LOADED,))


def _mark(wish: Wish) -> Path:
    """Of an installation that has not come to its end; a name that systemd passes over."""
    return _unit_directory(wish) / ".waystation.unfinished"


def _present(wish: Wish) -> tuple[str, ...]:
    return tuple(name for name in UNITS if (_unit_directory(wish) / name).exists())


def _installed(wish: Wish) -> tuple[str, ...]:
    """The units that are there; all where that cannot be seen."""
    if _packaged(wish):
        return UNITS
    there = _present(wish)
    if SERVICE not in there:
        raise ServiceError("the service is not installed: `waystation service install` does that")
    return there


def _unit_directory(wish: Wish) -> Path:
    if wish.scope == "system":
        return wish.below_root("/etc/systemd/system")
    return wish.home / ".config/systemd/user"


def _packaged(wish: Wish) -> bool:
    return wish.scope == "system" and any(wish.below_root(path).exists() for path in PACKAGED)


def _refuse_packaged(wish: Wish) -> None:
    if _packaged(wish):
        raise ServiceError("a package has installed the service: apt or rpm also removes and upgrades it")


def _account(wish: Wish) -> list[Step]:
    """User, group and directories, before the units that name them."""
    made: list[Step] = [
        Write(wish.below_root(f"/etc/{kind}.d/waystation.conf"), _shipped(f"{kind}.conf").encode())
        for kind in ("sysusers", "tmpfiles")
    ]
    made.append(Run(("systemd-sysusers", "waystation.conf")))
    made.append(Run(("systemd-tmpfiles", "--create", "waystation.conf")))
    made.append(MakeDirectory(wish.below_root("/etc/waystation")))
    made.append(MakeDirectory(wish.below_root("/etc/waystation/credentials"), 0o700))
    made += configuration(wish, "linux")
    return made


def _units(wish: Wish) -> dict[str, str]:
    """The units by name, for the listeners that the configuration has."""
    unix = [
        path
        for listener in wish.config.listener
        if (path := listener.bind.removeprefix("unix:")) != listener.bind
    ]
    hosts = [
        (host, address.port)
        for listener in wish.config.listener
        if isinstance(address := listener.address, TcpAddress) and address.port
        for host in address.hosts
    ]
    streams = {
        "waystation.socket": unix,
        "waystation-http.socket": [f"{host}:{port}" for host, port in hosts if ":" not in host],
        "waystation-http6.socket": [f"[{host}]:{port}" for host, port in hosts if ":" in host],
    }
    streams = {name: addresses for name, addresses in streams.items() if addresses}
    units = {name: _socket(wish, name, addresses) for name, addresses in streams.items()}
    service = _shipped(f"{wish.scope}/{SERVICE}")
    if wish.scope == "system" and wish.program.is_relative_to("/home"):
        service = service.replace("ProtectHome=yes", "ProtectHome=read-only")  # or it would not see itself
    service = service.replace("ExecStart=/usr/bin/waystation run", f"ExecStart={_quoted(wish.command)}")
    return {**units, SERVICE: service.replace(" ".join(SOCKETS), " ".join(units))}


def _socket(wish: Wish, name: str, addresses: list[str]) -> str:
    lines = []
    modes = {listener.bind: listener for listener in wish.config.listener}
    for line in _shipped(f"{wish.scope}/{name}").splitlines():
        key = line.partition("=")[0]
        first = modes.get(f"unix:{addresses[0]}")
        if key == "ListenStream":
            lines += [f"ListenStream={address.replace('%', '%%')}" for address in addresses]
        elif key == "SocketMode" and first is not None:
            lines.append(f"SocketMode={first.mode:04o}")
        elif key == "SocketGroup" and first is not None and first.group:
            lines.append(f"SocketGroup={first.group}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _quoted(command: tuple[str, ...]) -> str:
    """A command as a unit has it: each word in quotes where it needs them, with `%` and `$` doubled."""
    words = [word.replace("\\", "\\\\").replace('"', '\\"') for word in command]
    words = [word.replace("%", "%%").replace("$", "$$") for word in words]
    return " ".join(f'"{word}"' if set(word) & set(" \t'\"\\;") else word for word in words)


def _shipped(name: str) -> str:
    """A file of `service/systemd`: the wheel has them in the package, a checkout beside it."""
    package = files("collector")
    place = package / "service_files" / "systemd"
    if not place.is_dir():
        place = Path(str(package)).parent / "service" / "systemd"
    return (place / name).read_text(encoding="utf-8")
