from __future__ import annotations

import pytest
from fakes.statuses import make_lane

from collector.admin.doctor_upstreams import lanes
from collector.spool.overview import PRODUCT_LEFT


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        ("blocked", "http 401 Unauthorized", "fail  lanes of upstream a: a/samsara is blocked: http 401"),
        ("retrying", "timed out", "warn  lanes of upstream a: a/samsara tries again: timed out"),
        ("paused", "paused", "warn  lanes of upstream a: a/samsara is paused: paused"),
        ("orphaned", PRODUCT_LEFT, f"warn  lanes of upstream a: a/samsara is orphaned: {PRODUCT_LEFT}"),
    ],
)
def test_a_lane_that_is_kept_from_delivering_is_told_with_its_reason(state, reason, told):
    assert str(lanes("a", [make_lane("a/samsara", state=state, reason=reason)])).startswith(told)
    assert lanes("b", [make_lane("a/samsara", state=state, reason=reason)]) is None
    assert lanes("a", [make_lane("a/samsara", state=state, reason=reason, pending_events=0)]) is None


@pytest.mark.parametrize("state", ["new", "healthy", "narrowing"])
def test_a_lane_that_delivers_is_nothing_to_be_told(state):
    assert lanes("a", [make_lane("a/samsara", state=state)]) is None
