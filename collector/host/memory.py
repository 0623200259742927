"""The C library's memory: how many heaps it makes for threads, and what it keeps in them."""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8
M_MMAP_THRESHOLD = -3
"""Of glibc's `mallopt`."""

MAPPED_BYTES = 512 * 1024
"""What is larger is given back to the system as soon as it is freed. By default glibc does so once for each
size, and from then on keeps as much in its heaps."""

ARENAS = 2
"""glibc makes a heap for each new thread, up to eight a processor, and each keeps what its largest piece of
work needed. The threads here take turns, so most of that lies idle. While large batches left over a long link
the peak was 93 MB without a bound, 86 with two heaps and what is large outside of them. One heap saved no
more, and requests of one event were some 3 % slower with it."""


def bound_arenas() -> None:
    """Have threads share heaps, where the C library can be told; to be called before there are any."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library than glibc
        return
    mallopt(M_ARENA_MAX, ARENAS)
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
