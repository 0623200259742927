"""The page about the metrics, made from their table: `python -m collector.admin.reference`.

`docs/operations/metrics.md` is what this prints; a test holds them equal.
"""

from __future__ import annotations

import sys

from collector.admin.families import FAMILIES

_HEAD = """\
# Metrics

`GET /metrics` of the admin listener, in Prometheus' text format. Over the UNIX socket:

```sh
curl -fsS --unix-socket /run/waystation/admin.sock http://localhost/metrics
```

Prometheus itself scrapes over TCP. Give the admin listener a loopback port, and Prometheus the token
(see [the control API](api.md#who-may-ask)):

```toml
[admin]
bind = ["unix:/run/waystation/admin.sock", "127.0.0.1:9010"]
```

```yaml
scrape_configs:
  - job_name: waystation
    authorization: {credentials_file: /etc/prometheus/waystation.token}
    static_configs: [{targets: ["127.0.0.1:9010"]}]
```

`alerts.yml` beside this page has alert rules, `dashboard.json` a dashboard for Grafana.

Counters start at 0 with the daemon. What `waystation_ledger_events` says is kept in the spool and goes on
over restarts. Lanes beyond the first 100 by name are summed under `lane="others"`. The `[labels]` of the
configuration are on every sample. Beside these there are the `process_` metrics of the Prometheus client
(memory, CPU, descriptors; Linux only).

| metric | kind | labels | meaning |
| --- | --- | --- | --- |
"""


def markdown() -> str:
    """The whole page."""
    rows = (
        f"| `{family.shown}` | {family.kind} | {', '.join(f'`{label}`' for label in family.labels)} |"
        f" {family.help} |\n"
        for family in FAMILIES
    )
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(markdown())
