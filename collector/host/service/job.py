"""A launchd job (launchd.plist(5)), as far as one is needed: the model, its text, and a check.

launchd ignores keys that it does not know and values of a wrong type, each in silence, so what
is written is read back and held against the model. Modes are decimal numbers in a property
list: 432 is 0660.
"""

from __future__ import annotations

import plistlib
from pathlib import PurePosixPath
from typing import Annotated, Literal
from xml.parsers.expat import ExpatError

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from collector.errors import ServiceError

LABEL = "io.waystation.waystation"

_MODE = Meta(ge=0, le=0o777)
_ID = Meta(ge=0, lt=2**31)
_SECRET_WORDS = ("SECRET", "PASSWORD", "TOKEN", "KEY")
_WINDOW = Meta(ge=1, le=3600)


class KeepAlive(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """When the job is started anew; False for `successful_exit`: after any end but exit code 0."""

    successful_exit: bool


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """Resource limits; launchd's own is 256 files."""

    number_of_files: Annotated[int, Meta(ge=256, le=65536)]


class SocketEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """A socket that launchd listens on: either `sock_path_name`, or host and port.

    Attributes:
        sock_service_name: the port, as a text.
        sock_path_mode: of the socket's file, as a number.
        sock_path_owner: a user's number; without it the file is root's, or the agent's user's.
        sock_path_group: a group's number, likewise.
    """

    sock_type: Literal["stream"] = "stream"
    sock_passive: bool = True
    sock_family: Literal["IPv4", "IPv6"] | UnsetType = UNSET
    sock_node_name: str | UnsetType = UNSET
    sock_service_name: Annotated[str, Meta(pattern="^[0-9]{1,5}$")] | UnsetType = UNSET
    sock_path_name: Annotated[str, Meta(pattern="^/", max_length=103)] | UnsetType = UNSET
    sock_path_mode: Annotated[int, _MODE] | UnsetType = UNSET
    sock_path_owner: Annotated[int, _ID] | UnsetType = UNSET
    sock_path_group: Annotated[int, _ID] | UnsetType = UNSET


class Job(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """The job.

    Attributes:
        user_name: whom it runs as; not for an agent.
        throttle_interval: seconds between two starts at the least.
        exit_time_out: seconds from SIGTERM to SIGKILL.
        umask: as a number.
        sockets: by the name that the daemon asks for.
    """

    label: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]+$")]
    program_arguments: Annotated[tuple[str, ...], Meta(min_length=1)]
    environment_variables: dict[str, str]
    sockets: dict[str, SocketEntry | tuple[SocketEntry, ...]]
    standard_error_path: Annotated[str, Meta(pattern="^/")]
    user_name: str | UnsetType = UNSET
    group_name: str | UnsetType = UNSET
    run_at_load: bool = True
    keep_alive: KeepAlive = KeepAlive(successful_exit=False)
    throttle_interval: Annotated[int, _WINDOW] = 10
    exit_time_out: Annotated[int, _WINDOW] = 20
    process_type: Literal["Standard"] = "Standard"
    soft_resource_limits: Limits = Limits(number_of_files=16384)
    umask: Annotated[int, _MODE] = 0o077


def text(job: Job) -> bytes:
    """The property list, in XML, checked.

    Raises:
        ServiceError: the job cannot be one of launchd's.
    """
    written = plistlib.dumps(msgspec.to_builtins(job), sort_keys=True)
    if check(written) != job:
        raise ServiceError("the property list does not say what it should")
    return written


def check(content: bytes) -> Job:
    """Read a property list, and hold it against the model and the rules that types do not tell.

    Raises:
        ServiceError: what is wrong with it.
    """
    try:
        tree: object = plistlib.loads(content)
        job = msgspec.convert(tree, Job)
    except (msgspec.ValidationError, plistlib.InvalidFileException, ValueError, ExpatError) as error:
        raise ServiceError(f"no property list of a job: {error}") from None
    wrong = [*_program_faults(job), *_socket_faults(job)]
    if wrong:
        raise ServiceError(f"no property list of a job: {'; '.join(wrong)}")
    return job


def _program_faults(job: Job) -> list[str]:
    faults = []
    if not PurePosixPath(job.program_arguments[0]).is_absolute():
        faults.append(f"{job.program_arguments[0]} is not an absolute path")
    faults += [
        f"{name} in EnvironmentVariables can be read by all"
        for name in job.environment_variables
        if any(word in name.upper() for word in _SECRET_WORDS)
    ]
    return faults


def _socket_faults(job: Job) -> list[str]:
    faults = []
    for name, given in job.sockets.items():
        for entry in given if isinstance(given, tuple) else (given,):
            by_path = entry.sock_path_name is not UNSET
            by_port = entry.sock_node_name is not UNSET and entry.sock_service_name is not UNSET
            if by_path == by_port:
                faults.append(f"socket {name} needs either a path, or a host and a port")
            if by_path and entry.sock_path_mode is UNSET:
                faults.append(f"socket {name} has no mode, and so would be open to all")
            if by_path and job.user_name is not UNSET and entry.sock_path_group is UNSET:
                faults.append(f"socket {name} has no group, and so would be root's alone")
    return faults
