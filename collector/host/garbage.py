"""Python's search for garbage in cycles, in a process that shall answer within milliseconds."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 10_000
"""More new objects than before are a reason to search the young ones. Python's own figure, 700, is what a
few requests make; nearly nothing of it is garbage in cycles, which alone needs to be searched for."""


def settle_in() -> None:
    """Have the search pass over all there is by now, modules above all: that stays until the end.

    A full search took 20 ms with it, while requests waited.
    """
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
