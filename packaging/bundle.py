"""The tree that the packages hold: the interpreter, the wheel, and what it depends on, all in one place.

The interpreter's own SQLite module is replaced by the one of the `pysqlite3` wheel, which holds
a current SQLite (3.51.3 or later: earlier ones can lose a WAL), so that all in the process use
the same one.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import interpreter

LEAST_SQLITE = (3, 51, 3)
ROOT = Path(__file__).resolve().parents[1]
UNUSED = ("pip", "tzdata")
"""sqlite-utils needs pip for its plug-ins; tzdata is for systems without time zones."""

PLATFORM = "x86_64-manylinux_2_36"


def make(target: Path, *, debs: Path, scratch: Path, mtime: int) -> list[interpreter.Part]:
    """Make the tree.

    Args:
        target: is made.
        debs: the interpreter's packages.
        scratch: is made, for what is between.
        mtime: of every file, seconds since 1970.

    Returns:
        Where the interpreter comes from.
    """
    parts = interpreter.lay_out(debs, target, scratch / "debian")
    modules = target / "lib/python3.11/dist-packages"
    _install(modules, scratch)
    _current_sqlite(target, modules)
    interpreter.make_self_contained(target)
    launcher = target / "bin/waystation"
    shutil.copyfile(ROOT / "packaging/files/waystation.sh", launcher)
    _compile(target / "lib/python3.11")
    _check(target)
    _even_out(target, mtime)
    return parts


def name(target: Path, *, version: str, mtime: int) -> None:
    """Give the tree the name under which it is installed: it tells one content from another.

    Args:
        target: the tree.
        version: of the package, with its release.
        mtime: seconds since 1970.
    """
    build = target / "BUILD"
    build.unlink(missing_ok=True)
    build.write_text(f"{version}-{_digest(target)}\n", encoding="ascii")
    build.chmod(0o644)
    os.utime(build, (mtime, mtime))
    os.utime(target, (mtime, mtime))


def libraries(target: Path) -> dict[str, str]:
    """Versions of the C libraries that its modules hold within them, by name; empty where unknown."""
    probe = (
        "import _decimal, sqlite3, sys; from isal import ISAL_VERSION; "
        "from cryptography.hazmat.backends.openssl import backend; "
        "print(sys.version.split()[0], sqlite3.sqlite_version, backend.openssl_version_text().split()[1], "
        "ISAL_VERSION, _decimal.__libmpdec_version__)"
    )
    told = _run(str(target / "bin/python3.11"), "-I", "-B", "-c", probe).split()
    found = dict(zip(("cpython", "sqlite", "openssl", "isa-l", "libmpdec"), told, strict=True))
    return {**found, "libffi": "", "llhttp": ""}


def _install(modules: Path, scratch: Path) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}")
    if uv is None:
        sys.exit("uv is needed to install what the lock file names")
    wheels, listed = scratch / "wheel", scratch / "requirements.txt"
    export = ["export", "--frozen", "--no-dev", "--no-emit-project", "--extra", "pysqlite3", "--quiet"]
    for unused in UNUSED:
        export += ["--no-emit-package", unused]
    _run(uv, *export, "--output-file", str(listed))
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels))
    (wheel,) = wheels.glob("*.whl")
    install = [uv, "pip", "install", "--quiet", "--target", str(modules), "--python-version", "3.11"]
    install += ["--python-platform", PLATFORM, "--only-binary", ":all:", "--no-deps", "--link-mode", "copy"]
    _run(*install, "--require-hashes", "--requirements", str(listed))
    _run(*install, str(wheel))
    for directory in (modules / "bin", *modules.rglob("_tests"), *modules.rglob("tests")):
        shutil.rmtree(directory, ignore_errors=True)
    for mark in (".lock", "CACHEDIR.TAG"):
        (modules / mark).unlink(missing_ok=True)
    # Which file was installed from where, and when: none of it is the same twice.
    for about in modules.glob("*.dist-info"):
        for mark in ("RECORD", "direct_url.json", "uv_cache.json", "REQUESTED", "INSTALLER"):
            (about / mark).unlink(missing_ok=True)


def _current_sqlite(target: Path, modules: Path) -> None:
    (old,) = (target / "lib/python3.11/lib-dynload").glob("_sqlite3.*.so")
    (new,) = (modules / "pysqlite3").glob("_sqlite3.*.so")
    shutil.copyfile(new, old)
    # sqlite-utils would take it, and there would be two libraries in one process.
    shutil.rmtree(modules / "pysqlite3")


def _compile(library: Path) -> None:
    # Checked by nobody: the files belong to root, and their times say nothing.
    compiled = compileall.compile_dir(
        library,
        quiet=1,
        stripdir=str(library.parents[1]),
        prependdir="/opt/waystation/current",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        force=True,
    )
    if not compiled:
        sys.exit("what is in the packages does not compile")


def _check(target: Path) -> None:
    """The interpreter runs from where it lies, knows the command, and has the SQLite that it should."""
    probe = (
        "import sqlite3, ssl, ctypes, sys; import collector.daemon; print(sys.prefix, sqlite3.sqlite_version)"
    )
    python = str(target / "bin/python3.11")
    prefix, version = _run(python, "-I", "-B", "-c", probe).split()
    if Path(prefix) != target:
        sys.exit(f"the interpreter takes its modules from {prefix}")
    if tuple(map(int, version.split("."))) < LEAST_SQLITE:
        sys.exit(f"SQLite {version} is older than {'.'.join(map(str, LEAST_SQLITE))}")


def _even_out(target: Path, mtime: int) -> None:
    """Modes and times that do not tell who built it, and when."""
    programs = {target / "bin/python3.11", target / "bin/waystation"}
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
        os.utime(path, (mtime, mtime))


def _digest(target: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in target.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(target)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _run(*command: str) -> str:
    environ = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    done = subprocess.run(command, cwd=ROOT, env=environ, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"failed: {' '.join(command)}")
    return done.stdout
