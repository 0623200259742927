from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from collector.config import paths
from collector.config.load import load
from collector.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from collector.config.model import Config


class Site:
    """A machine of its own: a home, an /etc, an environment, and one configuration file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "config.toml"
        self.environ = {"HOME": str(root / "home"), "XDG_RUNTIME_DIR": str(root)}

    def write(self, text: str) -> None:
        self.file.write_text(dedent(text))

    def load(self, text: str | None = None, **environ: str) -> Config:
        if text is not None:
            self.write(text)
        return load(self.file if self.file.exists() else None, {**self.environ, **environ})

    def problems(self, text: str | None = None, **environ: str) -> tuple[Problem, ...]:
        with pytest.raises(ConfigError) as caught:
            self.load(text, **environ)
        return caught.value.problems

    def problem(self, text: str | None = None, **environ: str) -> Problem:
        problems = self.problems(text, **environ)
        assert len(problems) == 1, problems
        return problems[0]

    def secret(self, name: str, content: bytes, mode: int = 0o600) -> Path:
        path = self.root / name
        path.write_bytes(content)
        path.chmod(mode)
        return path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(paths, "SYSTEM_CONFIG", tmp_path / "etc" / "config.toml")
    return Site(tmp_path)


@pytest.fixture(scope="session")
def ed25519_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
