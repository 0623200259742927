"""What the daemon's imports leave out."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from collector.cli.run import without

with without("rich", "pygments"):
    import collector.daemon
assert not [name for name in sys.modules if name.partition(".")[0] in {"rich", "pygments"}]
import rich.console
with without("rich"):
    import rich.table
"""


def test_the_daemon_does_without_what_is_for_terminals():
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
