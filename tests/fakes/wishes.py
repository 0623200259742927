"""What `waystation service` is asked for."""

from __future__ import annotations

from pathlib import Path

from collector.config.model import Config, Listener
from collector.host.service.sites import Wish

DEFAULTS = ({"bind": "localhost:9000"}, {"bind": "unix:/run/waystation/waystation.sock"})


def make_wish(root, scope="system", listeners=(), *, platform="linux", **given):
    state = "/var/lib/waystation" if platform == "linux" else "/Library/Application Support/waystation"
    config = Config(
        state_dir=state,
        listener=tuple(Listener(**listener) for listener in listeners or DEFAULTS),
    )
    own = Path("/etc/waystation") if scope == "system" else root / "home/config/waystation"
    values = {
        "config": config,
        "config_directory": own,
        "program": Path("/usr/local/bin/waystation"),
        "config_path": None,
        "root": root,
        "home": root / "home",
        "uid": 501,
    }
    return Wish(scope=scope, **{**values, **given})
