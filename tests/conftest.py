from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory whose path is short: a UNIX socket's must fit 107 bytes, and pytest's own is long."""
    with tempfile.TemporaryDirectory(prefix="ws-") as directory:
        yield Path(directory).resolve()
