"""What Prometheus' own tool says of a scrape, of the alerts, and of the dashboard's queries."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fakes.configs import ADMIN_OVER_TCP, FILE
from fakes.daemon import Client

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = ROOT / "docs/operations"
PROMTOOL = shutil.which("promtool")

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool; Debian's package prometheus has it"),
]

CONFIG = f"""
[labels]
site = "north"
{ADMIN_OVER_TCP}{FILE}"""


def promtool(*arguments, stdin=b""):
    done = subprocess.run([PROMTOOL, *arguments], input=stdin, capture_output=True, check=False, timeout=60)
    return done.returncode, (done.stdout + done.stderr).decode()


def test_a_scrape_is_as_prometheus_wants_it(make_daemon):
    daemon = make_daemon(CONFIG).start()
    with Client(daemon.socket) as client:
        events = b'[{"timestamp":1433004485870,"sourceId":"till","eventName":"sold"}]'
        headers = {"Content-Type": "application/json"}
        assert client.ask("POST", "/v1/events", events, headers).status == 202
        assert client.ask("POST", "/v1/events", b"[{}]", headers).status == 400
    daemon.forwarded()
    (port,) = daemon.ports()
    token = (daemon.state_dir / "admin.token").read_text().strip()
    with Client(port) as client:
        assert client.ask("GET", "/metrics").status == 401
        scrape = client.ask("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
    assert scrape.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'waystation_ledger_events{fate="delivered",lane="file/samsara",site="north"} 1.0' in scrape.body
    assert promtool("check", "metrics", stdin=scrape.body) == (0, "")


def test_the_alert_rules_are_valid():
    code, told = promtool("check", "rules", str(OPERATIONS / "alerts.yml"))
    assert code == 0, told


def test_alerts_fire_when_they_should_and_not_else():
    code, told = promtool("test", "rules", str(ROOT / "tests/fixtures/alerts_test.yml"))
    assert code == 0, told


def test_the_dashboards_queries_are_valid(tmp_path):
    board = json.loads((OPERATIONS / "dashboard.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert queries
    rules = [
        {"record": f"query:{number}", "expr": re.sub(r"\$__rate_interval", "5m", query)}
        for number, query in enumerate(queries)
    ]
    file = tmp_path / "queries.yml"
    # JSON is YAML.
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    code, told = promtool("check", "rules", str(file))
    assert code == 0, told
