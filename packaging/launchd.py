"""Write service/launchd: what `waystation service install` generates on macOS, for people to read."""

from __future__ import annotations

from pathlib import Path

from collector.config.model import Config, Listener
from collector.config.paths import SYSTEM_HOME, SYSTEM_RUNTIME
from collector.host.service import job
from collector.host.service.launchd import described
from collector.host.service.sites import Wish

TARGET = Path(__file__).resolve().parents[1] / "service/launchd"


def example(scope: str) -> bytes:
    """The property list of an installation without a configuration.

    Args:
        scope: `system` or `user`.
    """
    system = scope == "system"
    home = Path("/Users/me")
    state = SYSTEM_HOME["darwin"] if system else home / "Library/Application Support/waystation"
    socket = SYSTEM_RUNTIME["darwin"] if system else state / "run"
    listeners = (Listener(bind="localhost:9000"), Listener(bind=f"unix:{socket}/waystation.sock"))
    wish = Wish(
        scope="system" if system else "user",
        program=Path("/usr/local/bin/waystation"),
        config_path=None,
        config=Config(state_dir=str(state), listener=listeners),
        config_directory=Path("/etc/waystation") if system else state,
        root=Path("/"),
        home=home,
        uid=501,
    )
    return job.text(described(wish))


if __name__ == "__main__":
    for name in ("system", "user"):
        (TARGET / f"{name}.plist").write_bytes(example(name))
