"""README's examples, run as they stand."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def test_readme_has_the_examples_that_are_run_here() -> None:
    assert len(blocks("sh")) == 4
    assert len(blocks("toml")) == 1
