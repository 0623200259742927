"""An installation to test: the wheel, in an environment that holds nothing else."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from fakes.browser import served_pages
from fakes.daemon import Daemon
from fakes.machine import Impossible, Machine, tree
from fakes.packages import add_base, add_migrating, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tree."""
    directory = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory))
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def make_environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes virtual environments that hold pip alone."""

    def make() -> Path:
        environment = tmp_path_factory.mktemp("installed") / "venv"
        uv = _find_uv()
        if uv is not None:  # in a fifth of the time
            _run(uv, "venv", "--quiet", "--seed", "--python", sys.executable, str(environment))
        else:
            _run(sys.executable, "-m", "venv", str(environment))
        return environment

    return make


@pytest.fixture(scope="session")
def waystation(wheel: Path, make_environment: Callable[[], Path]) -> Path:
    """The command, as the wheel installs it."""
    environment = make_environment()
    python = str(environment / "bin/python")
    uv = _find_uv()
    installer = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    _run(*installer, "--quiet", str(wheel))
    return environment / "bin/waystation"


@pytest.fixture(scope="session")
def pip_waystation(make_environment: Callable[[], Path]) -> Path:
    """The command, as `pip install .` installs it."""
    environment = make_environment()
    _run(str(environment / "bin/python"), "-m", "pip", "install", "--quiet", ".")
    return environment / "bin/waystation"


@pytest.fixture(scope="module")
def pages() -> Iterator[int]:
    """The port of a web server for all sites."""
    with served_pages() as port:
        yield port


class MakeDaemon(Protocol):
    """Makes a daemon that is not started yet; see `Daemon` for what it is given."""

    def __call__(
        self, config: str | None = None, *, command: Path | None = None, **environ: str
    ) -> Daemon: ...


@pytest.fixture
def make_daemon(waystation: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeDaemon]:
    """Makes daemons that end with the test."""
    with _daemons(waystation, tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="module")
def make_shared_daemon(waystation: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeDaemon]:
    """Makes daemons that end with the module's last test."""
    with _daemons(waystation, tmp_path_factory) as make:
        yield make


@contextmanager
def _daemons(installed: Path, homes: pytest.TempPathFactory) -> Iterator[MakeDaemon]:
    made: list[Daemon] = []
    # Not below pytest's own directory: a socket's path has to be short.
    runtimes = Path(tempfile.mkdtemp(prefix="ws-"))

    def make(config: str | None = None, *, command: Path | None = None, **environ: str) -> Daemon:
        runtime = runtimes / str(len(made))
        runtime.mkdir(mode=0o700)
        made.append(Daemon(command or installed, homes.mktemp("home"), runtime, config, environ))
        return made[-1]

    try:
        yield make
    finally:
        for daemon in made:
            daemon.close()
            print(daemon.log())  # noqa: T201 - pytest shows it where a test failed
        shutil.rmtree(runtimes)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the packages of three releases; built once, whichever worker is first."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    directory = Path(os.environ.get("WAYSTATION_TEST_PACKAGES", shared / "packages"))
    with (shared / "packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            draft = shared / "packages-draft"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            try:
                tree()
                build(draft, 1, 2)
            except Impossible as error:
                pytest.skip(str(error))
            add_base(draft)
            add_migrating(draft, shared / "migrating")
            draft.rename(directory)
    return directory


@pytest.fixture
def machine(packages: Path, tmp_path: Path) -> Iterator[Machine]:
    """A machine without any of them, where they lie in /packages."""
    try:
        with Machine(tmp_path, tree(), binds=[f"--bind-ro={packages}:/packages"]) as running:
            yield running
            print(running.run("journalctl", "--no-pager", "--lines=60", check=False))  # noqa: T201 - where a test failed
    except Impossible as error:
        pytest.skip(str(error))


def _find_uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv")


def _run(*command: str) -> None:
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}"
