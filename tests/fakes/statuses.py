"""A status as a daemon would tell it."""

from __future__ import annotations

from collector.admin.status import ListenerView, SpoolView, Status
from collector.spool.views import LaneView, LedgerRow


def make_lane(name: str, **given) -> LaneView:
    upstream, dialect, product = [*name.split("/"), ""][:3]
    values = {
        "upstream": upstream,
        "dialect": dialect,
        "product": product,
        "state": "healthy",
        "reason": "",
        "since": 0,
        "next_attempt_at": None,
        "pending_events": 12_345,
        "pending_bytes": 8_044_969,
        "oldest_received_at": 1_700_000_000_000,
        "dead_letters": 3,
    }
    return LaneView(name=name, **{**values, **given})


def make_row(lane: str, **given) -> LedgerRow:
    numbers = {"accepted": 1_234_567, "pending": 12_345, "delivered": 1_222_222}
    others = dict.fromkeys(("dead", "expired", "evicted", "damaged", "outcome_unknown"), 0)
    return LedgerRow(lane=lane, **{"day": "2026-07-29", **numbers, **others, **given})


def make_status(**given) -> Status:
    values = {
        "version": "0.1.0",
        "running": True,
        "healthy": True,
        "device": "kiosk-17",
        "epoch": "9d1e",
        "uptime": 1.0,
        "pid": 1,
        "listeners": [ListenerView(address="[::1]:9000, 127.0.0.1:9000", connections=1, requests=2)],
        "spool": SpoolView(
            path="/var/lib/waystation", used_bytes=8_044_969, max_bytes=2**30, healthy=True, failed_commits=0
        ),
        "lanes": [make_lane("samsara/samsara")],
        "ledger": [make_row("samsara/samsara")],
        "received": [],
    }
    return Status(**{**values, **given})
