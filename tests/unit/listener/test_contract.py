"""The document that is served is the one that is written."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from collector.listener import api_status, contract, ingest

WRITTEN = Path(__file__).parents[3] / "docs/openapi.yaml"


def served():
    return json.loads(contract.methods()["GET"].begin(None).body)


def test_what_is_served_is_what_is_written():
    assert served() == yaml.safe_load(WRITTEN.read_text(encoding="utf-8")), "run `make docs`"


def test_it_names_the_paths_that_client_listeners_serve():
    assert {ingest.PATH, api_status.PATH, contract.PATH} <= set(served()["paths"])
