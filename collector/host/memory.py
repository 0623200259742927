"""Memory that large events took, given back to the system when they are gone.

glibc maps large blocks, and unmaps them when they are freed. But the first one of up to 32 MiB that is
freed raises the bound below which blocks come from a heap instead: there those of megabytes leave holes
between what stays, in a heap for each thread. Two dozen events of 10 MiB so kept 270 MiB resident, and
had 320 at the peak. The bound is set here, which also keeps it where it is.
"""

from __future__ import annotations

import ctypes
import sys

LARGE_BLOCK_BYTES = 1024 * 1024
"""More than what a request needs as a rule, less than a batch to an upstream that is near. Pages that are
mapped anew must be cleared by the kernel; a drain was as quick with this as with 4 MiB and with glibc's own
bound, and took less at its peak."""

KEPT_BYTES = 2 * LARGE_BLOCK_BYTES
"""What may stay free at a heap's end; glibc's own proportion."""

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def return_large_blocks() -> bool:
    """Have blocks over `LARGE_BLOCK_BYTES` go back to the system as soon as they are freed.

    Returns:
        Whether the allocator can be told: glibc's can.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES) and mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
    )
