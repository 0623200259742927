"""The product as it is shipped: the wheel, in an environment of its own, under `build/bench`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build/bench"


def install() -> Path:
    """Build the wheel and install it with the locked versions of what it needs.

    Returns:
        The environment's `bin`.
    """
    HOME.mkdir(parents=True, exist_ok=True)
    dist = HOME / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist))
    (wheel,) = dist.glob("*.whl")
    environment = HOME / "venv"
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    python = environment / "bin/python"
    if not python.exists():
        _run(sys.executable, "-m", "venv", str(environment))
    if uv is None:
        _run(str(python), "-m", "pip", "install", "-q", "--force-reinstall", "--no-deps", str(wheel))
        _run(str(python), "-m", "pip", "install", "-q", str(wheel))
    else:
        locked = HOME / "locked.txt"
        _run(uv, "export", "--quiet", "--frozen", "--no-emit-project", "-o", str(locked))
        into = [uv, "pip", "install", "--quiet", "--python", str(python)]
        _run(*into, "-r", str(locked))
        _run(*into, "--no-deps", "--reinstall", str(wheel))
    return environment / "bin"


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
