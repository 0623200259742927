"""The interpreter of the packages: Debian's own, of the release that the packages are built on.

It is an input: a directory of .deb files, fetched with apt where none is given. What is not
needed is left out, and each library is found beside it, so that the result runs on a machine
that has neither Python nor these libraries.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = (
    "libbz2-1.0",
    "libexpat1",
    "libffi8",
    "liblzma5",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libssl3",
    "libuuid1",
    "python3.11-minimal",
    "zlib1g",
)

SYSTEM_LIBRARIES = ("libc.so", "libm.so", "libpthread.so", "libdl.so", "librt.so", "libutil.so", "ld-linux")
"""Those of glibc, which is the one thing that the machine must have."""

LEFT_OUT = (
    "EXTERNALLY-MANAGED", "LICENSE.txt", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data",
    "sitecustomize.py", "test", "tkinter", "turtledemo", "turtle.py", "venv",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """A Debian package that a part of the interpreter comes from."""

    name: str
    version: str
    sha256: str


def fetch(directory: Path) -> None:
    """Get the packages, in the versions that this machine's apt would install.

    Args:
        directory: is made; there is none, or an empty one.
    """
    draft = directory.with_name(f"{directory.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    done = subprocess.run(
        ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *PACKAGES],
        cwd=draft, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"cannot fetch the interpreter (`apt-get update` first?): {done.stderr.strip()}")
    # Whole: what was fetched in part would be taken for it the next time.
    draft.rename(directory)


def lay_out(debs: Path, target: Path, scratch: Path) -> list[Part]:
    """Put the interpreter into `target`: `bin`, `lib`.

    Args:
        debs: directory of the packages.
        target: is made.
        scratch: for the packages' content; is made.

    Returns:
        Where it comes from.
    """
    scratch.mkdir(parents=True)
    parts = []
    for deb in sorted(debs.glob("*.deb")):
        fields = _run("dpkg-deb", "--show", "--showformat", "${Package} ${Version}", str(deb)).split()
        parts.append(Part(fields[0], fields[1], hashlib.sha256(deb.read_bytes()).hexdigest()))
        _run("dpkg-deb", "--extract", str(deb), str(scratch))
    missing = set(PACKAGES) - {part.name for part in parts}
    if missing:
        sys.exit(f"the interpreter is not whole: {debs} has no {', '.join(sorted(missing))}")
    library = target / "lib" / "python3.11"
    (target / "bin").mkdir(parents=True)
    shutil.copy2(scratch / "usr/bin/python3.11", target / "bin")
    shutil.copytree(
        scratch / "usr/lib/python3.11", library, ignore=shutil.ignore_patterns(*LEFT_OUT, "__pycache__")
    )
    for found in sorted(scratch.rglob("lib*.so.*")):
        # By the name that others ask for it; the links are not needed.
        soname = _run("patchelf", "--print-soname", str(found)).strip()
        if found.is_file() and not found.is_symlink() and soname:
            shutil.copy2(found, target / "lib" / soname)
    return parts


def make_self_contained(target: Path) -> None:
    """Have each binary look for its libraries in the tree, and drop the modules that need others."""
    libraries = {path.name for path in (target / "lib").glob("lib*.so.*")}
    _run("patchelf", "--set-rpath", "$ORIGIN/../lib", str(target / "bin/python3.11"))
    for name in libraries:
        _run("patchelf", "--set-rpath", "$ORIGIN", str(target / "lib" / name))
    for module in sorted((target / "lib/python3.11/lib-dynload").glob("*.so")):
        needed = _run("patchelf", "--print-needed", str(module)).split()
        if all(name in libraries or name.startswith(SYSTEM_LIBRARIES) for name in needed):
            _run("patchelf", "--set-rpath", "$ORIGIN/../..", str(module))
        else:
            module.unlink()


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
