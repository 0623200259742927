"""Secrets: where each comes from, read when it is needed, and never shown."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from collector.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SECRET_BYTES = 64 * 1024
"""A key or a shared secret is far smaller; more than this is the wrong file."""

_OPEN_TO_OTHERS = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Secret:
    """The place of a secret; the secret itself is held nowhere.

    Attributes:
        source: `file`, `env`, or `credential` (a file that the service manager hands
            over in `$CREDENTIALS_DIRECTORY`).
        name: the file's absolute path, the variable's name, or the credential's name.
    """

    source: Literal["file", "env", "credential"]
    name: str

    def read(self, environ: Mapping[str, str]) -> bytes:
        """Read it now, without the line break that editors put at the end.

        Args:
            environ: of the process.

        Raises:
            SecretError: it is not there, is empty, or others may read it.
        """
        if self.source == "env":
            value = os.fsencode(environ.get(self.name, ""))
            if not value:
                raise SecretError(found="a variable that is not set, or empty", expected="the secret in it")
            return value
        return read_secret_file(self.path(environ), environ)

    def path(self, environ: Mapping[str, str]) -> Path:
        """The file that it is in, for `file` and `credential`.

        Raises:
            SecretError: no service manager hands over credentials.
        """
        if self.source == "credential":
            return _credential_path(self.name, environ)
        return Path(self.name)


def first_named(file: str | None, env: str | None, credential: str | None) -> Secret | None:
    """The secret that one of three keys names; None where none of them is set."""
    if file is not None:
        return Secret("file", file)
    if env is not None:
        return Secret("env", env)
    return None if credential is None else Secret("credential", credential)


def read_secret_file(path: Path, environ: Mapping[str, str]) -> bytes:
    """Read a secret's file, without the line break at its end.

    Args:
        path: it must be a regular file which only its owner may read or write; below
            `$CREDENTIALS_DIRECTORY` the service manager has seen to that.
        environ: of the process.

    Raises:
        SecretError: it cannot be read, is empty, too long, or open to others.
    """
    try:
        # Non-blocking, so that a pipe in its place cannot hang the start.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise _unreadable(reason) from None
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise SecretError(found="something that is not a regular file", expected="a regular file")
        if about.st_mode & _OPEN_TO_OTHERS and not _handed_over(path, environ):
            mode = f"{stat.S_IMODE(about.st_mode):04o}"
            raise SecretError(
                found=f"a file of mode {mode}, open to others",
                expected="a file that only its owner may read (chmod 600)",
            )
        if about.st_size > MAX_SECRET_BYTES:
            raise SecretError(
                found=f"a file of {about.st_size} bytes", expected=f"at most {MAX_SECRET_BYTES} bytes"
            )
        secret = os.read(handle, MAX_SECRET_BYTES)
    except OSError as error:
        raise _unreadable(error.strerror) from None
    finally:
        os.close(handle)
    secret = secret.removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        raise SecretError(found="an empty file", expected="the secret in it")
    return secret


def _unreadable(reason: str | None) -> SecretError:
    return SecretError(found=f"a file that cannot be read ({reason})", expected="a readable file")


def _credential_path(name: str, environ: Mapping[str, str]) -> Path:
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    if not directory:
        raise SecretError(
            found="no $CREDENTIALS_DIRECTORY", expected="a service manager that hands over credentials"
        )
    return Path(directory) / name


def _handed_over(path: Path, environ: Mapping[str, str]) -> bool:
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    return bool(directory) and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(directory))
