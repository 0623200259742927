"""The gate of CI against tests that are skipped unseen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

PASSES = "def test_it(): pass"
SKIPS = "import pytest\ndef test_it(): pytest.skip('there is no sundial')"
MODULE_SKIPS = "import pytest\npytest.skip('there is no sundial', allow_module_level=True)"
ALLOWED = "import pytest\ndef test_it(): pytest.skip('only root can mount')"
EXPECTED = "import pytest\n@pytest.mark.xfail\ndef test_it(): assert False"


def run(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "fakes.no_skips",
        "-p",
        "no:cacheprovider",
        *options,
        ".",
    ]
    return subprocess.run(
        command,
        cwd=directory,
        env={**environ, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n", "1")], ids=["alone", "by workers"])
def test_a_skip_fails_the_run_and_is_named(tmp_path, options):
    (tmp_path / "test_a.py").write_text(PASSES)
    (tmp_path / "test_b.py").write_text(SKIPS)
    (tmp_path / "test_c.py").write_text(MODULE_SKIPS)
    assert run(tmp_path, *options).returncode == 0
    done = run(tmp_path, "--no-skips", *options)
    assert done.returncode == 1
    for file in ("test_b.py", "test_c.py"):
        assert f"{file}: " in done.stdout.replace("::test_it", "")
    assert done.stdout.count("there is no sundial") >= 2


def test_what_ci_may_skip_does_not(tmp_path):
    (tmp_path / "test_a.py").write_text(ALLOWED)
    (tmp_path / "test_b.py").write_text(EXPECTED)
    assert run(tmp_path, "--no-skips").returncode == 0
