"""Users and groups of this system, as the configuration names them: by name, or by number."""

from __future__ import annotations

import grp
import pwd


def user_id(text: str) -> int:
    """The id of a user.

    Raises:
        KeyError: there is no such user.
    """
    return int(text) if _is_number(text) else pwd.getpwnam(text).pw_uid


def group_id(text: str) -> int:
    """The id of a group.

    Raises:
        KeyError: there is no such group.
    """
    return int(text) if _is_number(text) else grp.getgrnam(text).gr_gid


def _is_number(text: str) -> bool:
    if "\0" in text:  # which the system's calls do not take
        raise KeyError(text)
    return text.isascii() and text.isdigit() and int(text) < 2**32
