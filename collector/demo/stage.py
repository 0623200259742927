"""What the demo is played on: a directory with made-up keys and a configuration."""

from __future__ import annotations

import json
import secrets
import tempfile
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from collector.demo.payloads import PRODUCT
from collector.demo.receiver import Settings

if TYPE_CHECKING:
    from pathlib import Path

KEY_ID = "demo-device"

MAX_PATH = 64
"""Of the directory for temporary files: a UNIX socket's whole path may have 104 bytes (macOS, BSD)."""

_CONFIG = """\
state_dir = "state"

[[listener]]
bind = "127.0.0.1:0"

[[listener]]
bind = {unix}

[admin]
bind = [{admin}]

[[product]]
key = "{product}"
secret_file = "product.secret"

[[upstream]]
name = "samsara"
kind = "samsara"
url = "http://127.0.0.1:{port}/v1/events"
signing = "rfc9421"
key_id = "{key_id}"
key_file = "device.pem"
max_events = {batch_events}
backoff = {{ initial = "100ms", max = "1s" }}

[[upstream]]
name = "traintracks"
kind = "traintracks"
url = "http://127.0.0.1:{port}/v1/events"
max_events = {batch_events}
backoff = {{ initial = "100ms", max = "1s" }}
"""


class Stage:
    """Made in an empty directory.

    Attributes:
        secret: of the product.
        unix: path of the daemon's socket for apps; `admin` that of the one for operators.
        config: path of the configuration, which `configure` writes.
        upstream: what the receiver is told.
    """

    def __init__(self, directory: Path) -> None:
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.secret = secrets.token_hex(16)
        self.directory = directory
        self.unix = str(directory / "waystation.sock")
        self.admin = str(directory / "admin.sock")
        self.config = directory / "config.toml"
        self.upstream = Settings(
            control=str(directory / "upstream.sock"),
            key_id=KEY_ID,
            public_key=public.decode(),
            product=PRODUCT,
            secret=self.secret,
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for name, content in (("device.pem", private), ("product.secret", self.secret.encode())):
            file = directory / name
            file.touch(mode=0o600)
            file.write_bytes(content)

    def configure(self, *, port: int, batch_events: int) -> None:
        """Write the configuration.

        Args:
            port: the upstream's.
            batch_events: most events in a batch.
        """
        text = _CONFIG.format(
            # TOML's strings are written as JSON's are.
            unix=json.dumps(f"unix:{self.unix}"),
            admin=json.dumps(f"unix:{self.admin}"),
            product=PRODUCT,
            port=port,
            key_id=KEY_ID,
            batch_events=batch_events,
        )
        self.config.write_text(text, encoding="utf-8")


def directory() -> tempfile.TemporaryDirectory[str]:
    """A directory that goes with its `with` block, and is short enough for sockets."""
    usual = tempfile.gettempdir()
    return tempfile.TemporaryDirectory(
        prefix="waystation-demo-",
        dir=usual if len(usual) <= MAX_PATH else "/tmp",  # noqa: S108 -- made for us alone, by a name nobody knows
    )
