from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from fakes.spools import FAST_DISK


@pytest.fixture
def tmp_path():
    """A directory in memory where there is such a thing: these tests sync some thousand times."""
    with tempfile.TemporaryDirectory(dir=FAST_DISK) as path:
        yield Path(path)
