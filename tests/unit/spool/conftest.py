from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import trio
from fakes.damage import fill
from fakes.spools import FAST_DISK


@pytest.fixture
def tmp_path():
    """A directory in memory where there is such a thing: these tests sync some thousand times."""
    with tempfile.TemporaryDirectory(dir=FAST_DISK) as path:
        yield Path(path)


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """A spool as it was when its process died, and as it is when it was closed."""
    target = tmp_path_factory.mktemp("filled")
    trio.run(fill, tmp_path_factory.mktemp("spool"), target)
    return target
