"""The interpreter of the packages is fetched whole or not at all."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import pytest

FETCH = runpy.run_path(str(Path(__file__).resolve().parents[2] / "packaging/interpreter.py"))["fetch"]


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """Makes an apt-get that runs a script."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    def make(script):
        program = tmp_path / "bin/apt-get"
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)

    return make


def test_a_fetch_that_broke_off_is_done_again(apt, tmp_path):
    target = tmp_path / "build/interpreter"
    apt("touch first.deb; echo gone >&2; exit 100")
    with pytest.raises(SystemExit, match=r"cannot fetch the interpreter .*: gone"):
        FETCH(target)
    assert not target.exists()
    apt("touch second.deb")
    FETCH(target)
    assert [path.name for path in target.iterdir()] == ["second.deb"]
