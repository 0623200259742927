"""`/v1/openapi.json`: what the daemon answers, as a document for machines.

Its one source is `docs/openapi.yaml`; `make docs` writes the JSON that is served beside this module.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from collector.core.http import Answer
from collector.listener.routes import Responder

if TYPE_CHECKING:
    from collector.listener.routes import Endpoint

PATH = "/v1/openapi.json"
FILE = "openapi.json"


def methods() -> dict[str, Endpoint]:
    """The endpoints of `PATH`."""
    answer = Answer(200, files(__package__ or "").joinpath(FILE).read_bytes())
    return {"GET": Responder(lambda _request: answer)}
