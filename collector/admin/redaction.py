"""Leaving secrets out of texts that were made by others: logs, answers, files."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from collector.admin.access import TOKEN_FILE
from collector.config.redact import REDACTED, redact_text
from collector.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collector.config.model import Config
    from collector.config.secret import Secret

LEAST_BYTES = 4
"""Shorter values would be found everywhere, and keep nobody out."""

_NAMED = re.compile(
    r"(?P<name>[\w.-]*(?:secret|token|password|authorization|signature|private)[\w.-]*\"?\s*[=:]\s*)"
    r"(?P<value>\"[^\"\n]*\"|[^\s\",}]+)",
    re.IGNORECASE,
)
_PLACES = re.compile(r"(?:_file|_env|_credential|_path)\"?\s*[=:]\s*$", re.IGNORECASE)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)

_UPSTREAMS_WORDS = re.compile(r"(\banswer(?:=|\": ?))(?:\"(?:[^\"\\]|\\.)*\"|[^\s\",}]+)")
"""What an upstream answered, in a log that tells all: it may repeat what is in an event."""


class Redaction:
    """What must not be seen.

    Attributes:
        unread: places of secrets that could not be read here, so that they are only found by their names.
    """

    def __init__(self) -> None:
        self.unread: list[str] = []
        self._known: set[bytes] = set()

    def learn(self, config: Config, environ: Mapping[str, str]) -> None:
        """Read every secret that a configuration names, so that it is found whatever stands around it."""
        for secret in _secrets(config):
            try:
                self.add(secret.read(environ))
            except SecretError:
                self.unread.append(f"{secret.source} {secret.name}")
        own = Path(config.state_dir) / TOKEN_FILE
        try:
            self.add(own.read_bytes().strip())
        except FileNotFoundError:
            pass
        except OSError:
            self.unread.append(f"file {own}")
        for upstream in config.upstream:
            self._learn_url(upstream.url or "")
            self._learn_url(upstream.proxy or "")
        for name, value in environ.items():
            if name.lower().endswith("_proxy"):
                self._learn_url(value)

    def add(self, secret: bytes) -> None:
        """Have a secret left out, also in base64, in hex, and percent-encoded; of a key each of its lines."""
        for line in (secret, *secret.splitlines()):
            value = line.strip()
            if len(value) >= LEAST_BYTES and not value.startswith(b"-----"):
                encoded = quote(value, safe="").encode()
                self._known |= {value, base64.b64encode(value).rstrip(b"="), value.hex().encode(), encoded}

    def clean(self, content: bytes) -> bytes:
        """A text without them."""
        for known in sorted(self._known, key=len, reverse=True):
            content = content.replace(known, REDACTED.encode())
        text = _PRIVATE_KEY.sub(REDACTED, content.decode(errors="replace"))
        text = "\n".join(_clean_line(line) for line in text.split("\n"))
        return text.encode()

    def _learn_url(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            password, user = parts.password, parts.username
        except ValueError:
            return
        values = [pair.partition("=")[2] or pair for pair in parts.query.split("&")]
        for value in (password, user, parts.fragment, *values):
            if value:
                self.add(value.encode())


def _clean_line(line: str) -> str:
    line = _UPSTREAMS_WORDS.sub(rf'\1"{REDACTED}"', line)
    return _NAMED.sub(_without_value, redact_text(line))


def _without_value(found: re.Match[str]) -> str:
    name, value = found["name"], found["value"]
    # Where a secret is may be told; and what is counted under such a name is a number.
    if _PLACES.search(name) or value.strip('"').replace(".", "", 1).isdigit():
        return found[0]
    return f'{name}"{REDACTED}"' if value.startswith('"') else f"{name}{REDACTED}"


def _secrets(config: Config) -> Iterator[Secret]:
    named = [config.admin.token, *(listener.token for listener in config.listener)]
    for product in config.product:
        named += [product.secret, product.next_secret]
    for upstream in config.upstream:
        named += [upstream.key, upstream.secret, upstream.client_key]
        named += [upstream.next.key, upstream.next.secret]
    yield from (place for place in named if place is not None)
