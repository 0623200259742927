"""Reading the configuration: a TOML file, the environment over it, defaults below both."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import msgspec.inspect as mi

from collector.config import paths
from collector.config.checks import SecretCheck, check_admin, check_labels, check_listeners, check_products
from collector.config.convert import Converter
from collector.config.environment import Variables
from collector.config.findings import Findings
from collector.config.merge import DIRECTORY, Document, drop_ins
from collector.config.model import Config
from collector.config.positions import key_lines
from collector.config.upstream_checks import check_upstreams
from collector.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.config.positions import KeyPath

DEFAULT_PORT = 9000
"""The port of the Samsara ingestion API's document."""

MAX_FILE_BYTES = 1024 * 1024
"""A configuration is a few KiB; more than this is the wrong file."""

_PLACES = frozenset({"WAYSTATION_STATE_DIR", "WAYSTATION_ADMIN__BIND"})
"""Variables that say where a daemon is."""

_WHERE = re.compile(r" \(at line (\d+), column (\d+)\)$")


def load(path: Path | None, environ: Mapping[str, str], *, read_secrets: bool = True) -> Config:
    """Read, complete and check the configuration.

    Args:
        path: what `--config` says; None to look at `$WAYSTATION_CONFIG`, then for the
            user's file, then for the system's. Without any, defaults.
        environ: of the process; `WAYSTATION_*` override single values.
        read_secrets: False for commands that need no secret and may not be allowed to
            read any: then it is not checked whether they are there.

    Raises:
        ConfigError: with every problem there is.
    """
    file = paths.config_file(environ, path)
    return _load(file, Document() if file is None else _read_all(file), environ, read_secrets=read_secrets)


def load_place(path: Path | None, environ: Mapping[str, str]) -> Config:
    """As much of a configuration that cannot be used as says where its daemon is; defaults beyond that.

    Raises:
        ConfigError: not even that can be read.
    """
    file = paths.config_file(environ, path)
    document = Document() if file is None else _read_all(file)
    tree: dict[str, object] = {
        key: document.tree[key] for key in ("state_dir", "admin") if key in document.tree
    }
    admin = tree.get("admin")
    if isinstance(admin, dict):
        tree["admin"] = {"bind": admin["bind"]} if "bind" in admin else {}
    telling = {
        name: text for name, text in environ.items() if not name.startswith("WAYSTATION_") or name in _PLACES
    }
    return _load(file, replace(document, tree=tree), telling, read_secrets=False)


def _load(file: Path | None, document: Document, environ: Mapping[str, str], *, read_secrets: bool) -> Config:
    tree = document.tree
    root = mi.type_info(Config)
    if not isinstance(root, mi.StructType):
        raise TypeError("the model is a Struct")
    overrides: dict[KeyPath, str] = {}
    findings = Findings(
        "defaults" if file is None else str(file), document.lines, overrides, tree, document.files
    )
    Variables(root, environ, tree).apply(overrides, findings)
    _fill_in(tree, environ)
    base = Path.cwd() if file is None else file.absolute().parent
    config = Converter(findings, base=base, home=paths.home(environ)).struct(root, tree, ())
    if not isinstance(config, Config):
        raise TypeError("the converter makes what it is asked for")
    config = _with_directories(config)
    secrets = SecretCheck(findings, environ, read=read_secrets)
    check_listeners(config, findings, secrets)
    check_admin(config, findings, secrets)
    check_labels(config, findings)
    check_products(config, findings, secrets)
    check_upstreams(config, findings, secrets)
    if findings.problems:
        raise ConfigError(findings.sorted())
    return config


def _read_all(file: Path) -> Document:
    """The configuration file, and what `conf.d` beside it adds."""
    document = Document(*_read(file))
    try:
        others = drop_ins(file)
    except OSError as error:
        found = f"a directory that cannot be read ({error.strerror})"
        place = str(file.with_name(DIRECTORY))
        raise ConfigError((Problem(place, None, "", found, "a directory of TOML files"),)) from None
    for other in others:
        document.add(*_read(other), str(other))
    return document


def _read(file: Path) -> tuple[dict[str, object], dict[KeyPath, int]]:
    def refuse(found: str, expected: str, line: int | None = None) -> ConfigError:
        return ConfigError((Problem(str(file), line, "", found, expected),))

    try:
        with file.open("rb") as handle:
            data = handle.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise refuse(f"a file that cannot be read ({reason})", "a configuration in TOML") from None
    if len(data) > MAX_FILE_BYTES:
        raise refuse(f"more than {MAX_FILE_BYTES} bytes", "a configuration in TOML")
    try:
        text = data.decode()
        return tomllib.loads(text), key_lines(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise refuse("bytes that are not UTF-8", "TOML, which is UTF-8", line) from None
    except tomllib.TOMLDecodeError as error:
        where = _WHERE.search(str(error))
        reason = _WHERE.sub("", str(error)).removesuffix(" (at end of document)")
        reason = reason[:1].lower() + reason[1:]
        if where is None:
            found = f"a syntax error at the end ({reason})"
            raise refuse(found, "valid TOML", data.count(b"\n") + 1) from None
        found = f"a syntax error at column {where[2]} ({reason})"
        raise refuse(found, "valid TOML", int(where[1])) from None
    except (RecursionError, ValueError):
        raise refuse("a value too deep or too long", "valid TOML") from None


def _fill_in(tree: dict[str, object], environ: Mapping[str, str]) -> None:
    """Add the defaults that depend on the platform, and those that make it run at all."""
    tree.setdefault("state_dir", str(paths.state_dir(environ)))
    tree.setdefault(
        "listener",
        [{"bind": f"localhost:{DEFAULT_PORT}"}, {"bind": f"unix:{paths.socket_path(environ)}"}],
    )
    admin = tree.setdefault("admin", {})
    if isinstance(admin, dict):
        admin.setdefault("bind", [f"unix:{paths.admin_socket_path(environ)}"])
    tree.setdefault("upstream", [{"name": "file", "kind": "file"}])


def _with_directories(config: Config) -> Config:
    """Give each file upstream the directory that it writes to."""
    default = str(Path(config.state_dir) / "events")
    upstreams = tuple(
        msgspec.structs.replace(upstream, directory=default)
        if upstream.kind == "file" and upstream.directory is None
        else upstream
        for upstream in config.upstream
    )
    return msgspec.structs.replace(config, upstream=upstreams)
