"""Why an attempt got no answer, and how causes are told apart."""

from __future__ import annotations

from enum import Enum


class Failure(Enum):
    """A closed set; the value is how it is told, and has no colon, since what follows one is detail.

    The log, and the label of a metric, tell causes apart by what is before the colon: `cause_of`.
    """

    CONNECT = "cannot connect"
    TIMEOUT = "timed out"
    BROKEN = "the connection broke before the whole answer came"
    TOO_LONG = "the answer is too long"
    TLS = "no trust in the connection"
    TLS_OTHER_HOST = "no trust in the connection, another host's certificate"
    TLS_EXPIRED = "no trust in the connection, expired certificate"
    TLS_NOT_YET_VALID = "no trust in the connection, certificate not yet valid"
    TLS_UNKNOWN_ISSUER = "no trust in the connection, unknown issuer"
    TLS_OTHER_KEY = "no trust in the connection, key that is not pinned"
    TLS_NO_CLIENT_CERTIFICATE = "no trust in the connection, client certificate missing"
    TLS_CLIENT_CERTIFICATE = "no trust in the connection, client certificate refused"
    PROXY = "the proxy cannot connect"
    PROXY_REFUSED = "the proxy refuses"
    BUSY = "all connections to this upstream are in use"
    LOCAL = "the request cannot be made"


def cause_of(reason: str) -> str:
    """What a verdict's reason says before its detail: of few kinds, without the upstream's own words."""
    return reason.partition(":")[0]
