from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.no_skips import pytest_addoption, pytest_configure
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pytest_addoption", "pytest_configure", "tmp_path"]

# A shell that starts the tests in the background has them, and each process of theirs, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that is busy with other tests is no failure.
settings.register_profile("quick", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", settings.get_profile("quick"), max_examples=2000, stateful_step_count=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory whose path is short: a UNIX socket's must fit 107 bytes, and pytest's own is long."""
    with tempfile.TemporaryDirectory(prefix="ws-") as directory:
        yield Path(directory).resolve()
