from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes.golden_batches import OPTIONS, cases, rendered

from collector.core.rendering import RENDERER

FIXTURES = Path(__file__).parents[2] / "fixtures"
GOLDEN = {
    number: json.loads((FIXTURES / f"golden-batches-{number}.json").read_text(encoding="utf-8"))
    for number in range(1, RENDERER + 1)
}


@pytest.mark.parametrize("number", GOLDEN)
def test_what_a_release_sealed_renders_to_the_same_bytes_in_every_later_one(number):
    assert len(GOLDEN[number]) >= 2 * sum(map(len, OPTIONS.values()))
    for case in GOLDEN[number]:
        assert rendered(case).decode() == case["body"]


def test_the_stored_batches_of_this_release_are_what_it_makes():
    assert json.loads(json.dumps(cases())) == GOLDEN[RENDERER], (
        "before a release: python tests/fakes/golden_batches.py; after it a renderer of its own"
    )
