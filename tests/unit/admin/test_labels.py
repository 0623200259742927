from __future__ import annotations

from collector.admin.families import FAMILIES
from collector.config.checks import RESERVED_LABELS


def test_no_label_of_the_operators_can_take_a_metrics_own():
    assert {label for family in FAMILIES for label in family.labels} | {"le"} <= RESERVED_LABELS
