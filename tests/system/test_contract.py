"""The running daemon keeps to its OpenAPI document, whatever a generator of requests thinks of."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fakes.daemon import Client

pytestmark = pytest.mark.system

WRITTEN = Path(__file__).parents[2] / "docs/openapi.yaml"
CONFIG = """
[[listener]]
bind = "127.0.0.1:0"

[admin]
bind = ["unix:$socket.admin", "127.0.0.1:0"]
"""
FORM = (
    "status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method,allow_header_conformance"
)
CONTENT = "status_code_conformance,positive_data_acceptance,negative_data_rejection"
EXAMPLES = 25
DIALECTS = {
    "Samsara": ["X-Samsara-publishedTimestamp:1433004485999"],
    "Traintracks": ["X-Product-Key:a32e6578-17b7-11e4-930a-bc764e1c05e4"],
}


@pytest.fixture(scope="module")
def ports(make_shared_daemon):
    daemon = make_shared_daemon(CONFIG)
    daemon.admin = daemon.socket.with_name("waystation.sock.admin")
    return daemon.start().ports()


def served(port):
    with Client(port) as client:
        return json.loads(client.ask("GET", "/v1/openapi.json").body)


def ask_all(document, port, directory, *, paths, checks, headers=()):
    """Have schemathesis make up requests; its report where an answer is not as documented."""
    file = directory / "openapi.json"
    file.write_text(json.dumps(document))
    done = subprocess.run(
        [
            *(
                Path(sys.executable).with_name("schemathesis"),
                "run",
                file,
                "--url",
                f"http://127.0.0.1:{port}",
            ),
            *(option for path in paths for option in ("--include-path", path)),
            *(option for header in headers for option in ("--header", header)),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--workers", "1"),
            *("--generation-deterministic", "--no-shrink"),
            *("--suppress-health-check", "all", "--checks", checks, "--warnings", "off"),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def narrowed(document, dialect):
    """The document of one dialect alone, whose bodies a schema can tell good from bad."""
    document = copy.deepcopy(document)
    path = document["paths"]["/v1/events"]
    post = path["post"]
    del path["options"], post["parameters"]
    del document["components"]["schemas"][f"{dialect}Batch"]["maxItems"]  # 413, which no schema knows
    post["requestBody"]["content"]["application/json"]["schema"] = {
        "$ref": f"#/components/schemas/{dialect}Batch"
    }
    return document


def test_what_is_served_is_what_is_written(ports):
    written = yaml.safe_load(WRITTEN.read_text(encoding="utf-8"))
    assert [served(port) for port in ports] == [written, written]


def test_client_listener_answers_as_documented(ports, tmp_path):
    paths = ["/v1/events", "/v1/api-status", "/v1/openapi.json"]
    ask_all(served(ports[0]), ports[0], tmp_path, paths=paths, checks=FORM)


def test_admin_listener_answers_as_documented(ports, tmp_path):
    paths = ["/livez", "/readyz", "/v1/api-status", "/v1/openapi.json"]
    ask_all(served(ports[1]), ports[1], tmp_path, paths=paths, checks=FORM)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_good_bodies_are_taken_and_bad_ones_refused(ports, tmp_path, dialect):
    document = narrowed(served(ports[0]), dialect)
    ask_all(document, ports[0], tmp_path, paths=["/v1/events"], checks=CONTENT, headers=DIALECTS[dialect])
