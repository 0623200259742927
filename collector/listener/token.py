"""The bearer token that posts to a listener must carry, where one is configured."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import structlog

from collector.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.config.secret import Secret


class BearerToken:
    """A token and, once it was changed, the one before it: clients do not change theirs at the same moment.

    Raises:
        SecretError: it cannot be read at the start.
    """

    def __init__(self, secret: Secret, environ: Mapping[str, str]) -> None:
        self._secret = secret
        self._environ = environ
        self._valid: tuple[bytes, ...] = (secret.read(environ),)
        self._unreadable = False

    def fits(self, authorization: str | None) -> bool:
        """Whether an Authorization header carries it."""
        scheme, _, claimed = (authorization or "").partition(" ")
        token = claimed.strip(" \t").encode("latin-1")
        # Each is compared, whatever the others say: how long it takes tells nothing.
        matches = [hmac.compare_digest(token, valid) for valid in self._valid]
        return scheme.lower() == "bearer" and any(matches)

    def refresh(self) -> None:
        """Read it again; one that cannot be read stays as it was."""
        log = structlog.get_logger()
        try:
            token = self._secret.read(self._environ)
        except SecretError as error:
            if not self._unreadable:
                log.warning("token_unreadable", reason=str(error))
            self._unreadable = True
            return
        self._unreadable = False
        if token != self._valid[0]:
            self._valid = (token, self._valid[0])
            log.info("token_rotated")
