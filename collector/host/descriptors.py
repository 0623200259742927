"""File descriptors: each connection takes one, and systems allow a process few by default."""

from __future__ import annotations

import resource

SPARE = 256
"""For the spool, upstream connections, the log, and what libraries open."""


def allow(connections: int) -> int:
    """See to it that so many connections may be open, as far as the hard limit lets us.

    Returns:
        How many may be: fewer than asked where the hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):  # macOS has a further limit of its own
        allowed = soft
    return min(connections, max(1, allowed - SPARE))
