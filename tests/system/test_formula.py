"""The Homebrew formula: Ruby that says what it should, with every source that the daemon needs on a Mac."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.cyclonedx import faults

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "uv.lock"
SHA256 = "0" * 64
# brew style: Homebrew's own order of what a formula says (FormulaAudit/ComponentsOrder).
ORDER = [
    "desc", "homepage", "url", "sha256", "license", "depends_on", "resource",
    "install", "caveats", "service", "test",
]  # fmt: skip
LONGEST_LINE = 118  # brew style: Layout/LineLength


@pytest.fixture(scope="module")
def homebrew():
    """packaging/homebrew.py."""
    sys.path.insert(0, str(ROOT / "packaging"))
    try:
        yield runpy.run_path(str(ROOT / "packaging/homebrew.py"))
    finally:
        sys.path.remove(str(ROOT / "packaging"))


@pytest.fixture(scope="module")
def text(homebrew):
    return homebrew["formula"](homebrew["locked"](LOCK), version="1.2.3", sha256=SHA256)


@pytest.fixture(scope="module")
def said(text, tmp_path_factory):
    """What Homebrew would read in it."""
    if shutil.which("ruby") is None:
        pytest.skip("there is no ruby (ruby)")
    formula = tmp_path_factory.mktemp("formula") / "waystation.rb"
    formula.write_text(text, encoding="utf-8")
    checked = subprocess.run(["ruby", "-wc", str(formula)], capture_output=True, text=True, check=False)
    assert (checked.stdout, checked.stderr) == ("Syntax OK\n", "")
    told = subprocess.run(
        ["ruby", "-w", str(ROOT / "tests/fakes/homebrew.rb"), str(formula)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (told.returncode, told.stderr) == (0, "")
    return json.loads(told.stdout)


def test_homebrew_can_read_it_and_run_its_blocks(said):
    assert said["class"] == "Waystation"
    assert said["url"].endswith("/waystation-1.2.3.tar.gz")
    assert said["sha256"] == SHA256
    assert said["license"] == "Apache-2.0"
    assert said["service"]["run"] == ["/opt/homebrew/opt/waystation/bin/waystation", "run"]
    assert said["service"]["keep_alive"] == {"successful_exit": False}
    assert "virtualenv_install_with_resources" in said["ran"]
    assert "/opt/homebrew/opt/waystation/bin/waystation config check" in said["ran"]
    assert "waystation service install" in said["caveats"]


def test_it_is_written_as_homebrew_wants_it(said, text):
    """As far as `brew style` and `brew audit` can be followed without them."""
    assert list(dict.fromkeys(said["order"])) == ORDER
    assert said["order"] == sorted(said["order"], key=ORDER.index)
    assert said["depends_on"] == sorted(said["depends_on"])
    names = [resource["name"] for resource in said["resources"]]
    assert names == sorted(set(names))
    assert len(said["desc"]) <= 80
    assert not said["desc"].lower().startswith(("a ", "an ", "the ", "waystation"))
    assert not said["desc"].endswith(".")
    assert said["homepage"].startswith("https://")
    for resource in said["resources"]:
        assert re.fullmatch(
            r"https://files\.pythonhosted\.org/packages/[0-9a-f/]+/[^/]+\.tar\.gz", resource["url"]
        )
        assert re.fullmatch("[0-9a-f]{64}", resource["sha256"])
    lines = text.split("\n")
    assert [line for line in lines if line != line.rstrip() or "\t" in line] == []
    assert [line for line in lines if len(line) > LONGEST_LINE and "url" not in line] == []
    assert text.endswith("end\n")
    assert "\n\n\n" not in text


def test_it_has_a_source_for_each_thing_that_the_lock_file_names(homebrew):
    """The lock's own tool is asked, so that no extra of a dependency is forgotten."""
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv) if uv.exists() else "uv", "export", "--frozen", "--no-dev", "--no-emit-project"]
    done = subprocess.run(
        [*command, "--no-hashes", "--no-header", "--no-annotate", "--quiet"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    needed = {line.split("==")[0] for line in done.stdout.splitlines() if "==" in line}
    sources = {name for name, *_ in homebrew["locked"](LOCK)}
    assert sources == needed - homebrew["FROM_HOMEBREW"] - homebrew["LEFT_OUT"]
    assert {"h2", "trio"} <= sources


def test_the_daemon_runs_without_what_is_left_out(homebrew):
    absent = ", ".join(f"{name!r}: None" for name in sorted(homebrew["LEFT_OUT"]))
    probe = f"import sys; sys.modules.update({{{absent}}}); import collector.daemon, collector.core.gzip"
    subprocess.run([sys.executable, "-c", probe], check=True)


def test_its_bill_lists_what_homebrew_brings_too(homebrew):
    sbom = runpy.run_path(str(ROOT / "packaging/sbom.py"))
    named = [(name, version, sha256) for name, version, _, sha256 in homebrew["locked"](LOCK)]
    bill = sbom["of_names"](named, homebrew["FORMULAE"], version="1.2.3", sha256=SHA256, mtime=1767225600)
    assert faults(bill) == []
    told = json.loads(bill)
    held = {component["name"]: component for component in told["components"]}
    assert set(held) == {name for name, *_ in named} | set(homebrew["FORMULAE"])
    assert {"python@3.13", "openssl@3", "sqlite"} | homebrew["FROM_HOMEBREW"] <= set(held)
    assert held["python@3.13"]["purl"] == "pkg:brew/python%403.13"
    assert told["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": SHA256}]


def test_the_schema_has_something_against_a_bill_that_is_wrong(homebrew):
    sbom = runpy.run_path(str(ROOT / "packaging/sbom.py"))
    bill = sbom["of_names"]([], homebrew["FORMULAE"], version="1", sha256=SHA256, mtime=0)
    assert faults(bill.replace('"library"', '"libary"', 1))
    assert faults(bill.replace('"name": "sqlite"', '"nam": "sqlite"'))
