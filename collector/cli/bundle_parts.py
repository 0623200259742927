"""What is in a support bundle."""

from __future__ import annotations

import gzip
import io
import json
import os
import platform
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from collector import __version__
from collector.admin.doctor import examine
from collector.cli.admin_socket import ask, daemon_status
from collector.cli.letters_source import Source
from collector.cli.status_source import current_status
from collector.config.load import load, load_place
from collector.config.show import as_tree, to_toml
from collector.errors import ConfigError, WaystationError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Mapping

    from collector.admin.redaction import Redaction
    from collector.config.model import Config

MAX_LOG_BYTES = 4 * 1024 * 1024
MAX_LOG_LINES = 5000
JOURNAL_SECONDS = 30

README = """\
What helps to find out from afar what ails a waystation daemon.

config.toml        the configuration that counts; of secrets only where they are
config-errors.txt  what is wrong with the configuration, where something is
status.json        waystation status --json
metrics.txt        what Prometheus would scrape, where a daemon answered
ready.txt          what /readyz says, where a daemon answered
doctor.txt         waystation doctor
dead-letters.json  how many events upstreams refused, by lane and status
files.txt          the files of the state directory
machine.json       versions, system, disk, and the names of environment variables that matter
log.txt            the last lines of the daemon's log, where it was found
missing.txt        what could not be had, and why

Left out: what is in events, and what upstreams answered, which may repeat it; secrets, keys and tokens;
of URLs the user, the password, values in the query and the fragment.
Still in it: names of hosts, upstreams, lanes, products and devices, paths, and the labels.
"""


def gather(
    config_path: Path | None, environ: Mapping[str, str], redaction: Redaction, *, log_file: Path | None
) -> dict[str, bytes]:
    """The files of a bundle, by name, before anything is left out.

    Args:
        config_path: as given.
        environ: of the process.
        redaction: is taught the secrets of the configuration.
        log_file: the log's, where it is one.
    """
    parts: dict[str, bytes] = {"README.txt": README.encode()}
    missing: list[str] = []

    def add(name: str, make: Callable[[], str | bytes]) -> None:
        try:
            made = make()
        except (WaystationError, OSError, sqlite3.Error, subprocess.SubprocessError) as error:
            missing.append(f"{name}: {error}")
            return
        parts[name] = made.encode() if isinstance(made, str) else made

    add("machine.json", lambda: _machine(environ))
    add("log.txt", lambda: _log(log_file))
    try:
        config = load(config_path, dict(environ), read_secrets=False)
    except ConfigError as error:
        parts["config-errors.txt"] = "\n".join(str(problem) for problem in error.problems).encode()
        missing.append("most else: the configuration cannot be used")
        add("status.json", lambda: _running(load_place(config_path, environ)))
        add("ready.txt", lambda: _ready(load_place(config_path, environ)))
        parts["missing.txt"] = "\n".join(missing).encode()
        return parts
    redaction.learn(config, environ)
    missing += [f"a secret that is left out only where its name tells: {place}" for place in redaction.unread]
    add("config.toml", lambda: to_toml(as_tree(config)))
    add("status.json", lambda: msgspec.json.format(msgspec.json.encode(current_status(config)), indent=2))
    add("metrics.txt", lambda: ask(config, "/metrics").body)
    add("ready.txt", lambda: _ready(config))
    add("doctor.txt", lambda: "\n".join(str(check) for check in examine(config, environ)))
    add("dead-letters.json", lambda: _letters(config))
    add("files.txt", lambda: "\n".join(_files(Path(config.state_dir))))
    parts["missing.txt"] = "\n".join(missing or ["nothing"]).encode()
    return parts


def pack(parts: Mapping[str, bytes], name: str, *, now: dt.datetime) -> bytes:
    """An archive (tar.gz) of one directory of that name."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w") as archive,
    ):
        for part, content in sorted(parts.items()):
            entry = tarfile.TarInfo(f"{name}/{part}")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(now.timestamp())
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _machine(environ: Mapping[str, str]) -> str:
    telling = (
        "WAYSTATION_",
        "XDG_",
        "SSL_CERT",
        "CREDENTIALS_DIRECTORY",
        "STATE_DIRECTORY",
        "JOURNAL_STREAM",
    )
    names = [name for name in environ if name.startswith(telling) or name.lower().endswith("_proxy")]
    about = {
        "waystation": __version__,
        "python": sys.version,
        "sqlite": sqlite3.sqlite_version,
        "system": platform.platform(),
        "release": _os_release(),
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
        "user": os.geteuid(),
        "environment": sorted(names),
    }
    return json.dumps(about, indent=2)


def _running(config: Config) -> bytes:
    """The status, of a daemon alone."""
    return msgspec.json.format(msgspec.json.encode(daemon_status(config)), indent=2)


def _os_release() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _ready(config: Config) -> str:
    reply = ask(config, "/readyz")
    return f"{reply.status} {reply.body.decode(errors='replace')}"


def _letters(config: Config) -> str:
    with Source(config) as source:
        counts = Counter((letter.lane, letter.status or 0) for letter in source.letters())
    rows = [{"lane": lane, "status": status, "letters": n} for (lane, status), n in sorted(counts.items())]
    return json.dumps(rows, indent=2)


def _files(directory: Path) -> Iterator[str]:
    usage = shutil.disk_usage(directory)
    yield f"{directory}: {usage.free} bytes free of {usage.total}"
    for path in sorted(directory.rglob("*")):
        about = path.lstat()
        mode, name = stat.filemode(about.st_mode), path.relative_to(directory)
        yield f"{mode} {about.st_uid} {about.st_size:>12} {name}"


def _log(file: Path | None) -> bytes:
    if file is not None:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - MAX_LOG_BYTES))
            return log.read(MAX_LOG_BYTES)
    journal = shutil.which("journalctl")
    if journal is None:
        raise FileNotFoundError("there is no journal here; name the file with --log")
    command = [
        journal,
        "--unit=waystation.service",
        f"--lines={MAX_LOG_LINES}",
        "--no-pager",
        "--output=short-iso",
    ]
    done = subprocess.run(command, capture_output=True, check=True, timeout=JOURNAL_SECONDS)  # noqa: S603
    return done.stdout[-MAX_LOG_BYTES:]
