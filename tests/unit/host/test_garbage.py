"""The search for garbage passes over what was there at the start, and nothing else."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc
import weakref
from collector.host.garbage import YOUNG_OBJECTS, settle_in

class Cycle:
    def __init__(self):
        self.itself = self

gc.disable()
early = Cycle()
settle_in()
late = Cycle()
seen = [weakref.ref(early), weakref.ref(late)]
del early, late
gc.collect()
print([ref() is not None for ref in seen], gc.get_threshold()[0] == YOUNG_OBJECTS)
"""


def test_only_what_was_there_before_is_passed_over():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == "[True, False] True\n"
