"""Reading the configuration: a TOML file, the environment over it, defaults below both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import msgspec.inspect as mi

from collector.config import paths
from collector.config.addresses import DEFAULT_PORT
from collector.config.checks import SecretCheck, check_admin, check_labels, check_listeners, check_products
from collector.config.convert import Converter
from collector.config.environment import Variables
from collector.config.findings import Findings
from collector.config.merge import Document
from collector.config.model import Config
from collector.config.reading import read_all
from collector.config.upstream_checks import check_upstreams
from collector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.config.positions import KeyPath

_PLACES = frozenset({"WAYSTATION_STATE_DIR", "WAYSTATION_ADMIN__BIND"})
"""Variables that say where a daemon is."""


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
    return _load(file, Document() if file is None else read_all(file), environ, read_secrets=read_secrets)


def load_place(path: Path | None, environ: Mapping[str, str]) -> Config:
    """As much of a configuration that cannot be used as says where its daemon is; defaults beyond that.

    Raises:
        ConfigError: not even that can be read.
    """
    file = paths.config_file(environ, path)
    document = Document() if file is None else read_all(file)
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
    upstreams = tuple(
        msgspec.structs.replace(upstream, directory=str(upstream.files_below(config.state_dir)))
        if upstream.kind == "file" and upstream.directory is None
        else upstream
        for upstream in config.upstream
    )
    return msgspec.structs.replace(config, upstream=upstreams)
