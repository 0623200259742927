"""A longer hunt for bytes that break a connection, led by what code they reach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FUZZER = Path(__file__).parents[1] / "fakes/fuzz_connection.py"
SECONDS = 120


@pytest.mark.soak
def test_no_bytes_are_found_that_break_a_connection(tmp_path):
    pytest.importorskip("atheris", reason="the extra `fuzz` is not installed")
    corpus = tmp_path / "corpus"
    done = subprocess.run(
        [
            *(sys.executable, FUZZER, corpus, f"-max_total_time={SECONDS}", "-max_len=4096"),
            *("-timeout=20", "-rss_limit_mb=1024", f"-artifact_prefix={tmp_path}/"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done" in done.stderr
