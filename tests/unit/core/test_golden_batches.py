from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes.golden_batches import COMPRESSED, OPTIONS, STAMPED, cases, headers, rendered, stable

from collector.core.rendering import RENDERER
from collector.forwarder import packing

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
        if "headers" in case:
            assert stable(headers(case)) == case["headers"]


def test_the_headers_that_no_attempt_changes_are_those_that_say_which_batch_it_is():
    always = {"Idempotency-Key", "Waystation-Device", "Waystation-Batch", "Waystation-Labels", "Content-Type"}
    always |= {"Host", "Accept", "Accept-Encoding"}
    known = {
        "samsara": [always | {"Content-Encoding"}, always | {"Content-Encoding", "Waystation-Replaces"}],
        "traintracks": [always | {"X-Product-Key", "X-Product-Auth", "Remote-Address"}],
    }
    found = [(case["dialect"], set(case["headers"])) for case in GOLDEN[RENDERER] if "headers" in case]
    assert len(found) >= 10
    assert all(names in known[dialect] for dialect, names in found)
    assert all(any(names == one for _, names in found) for several in known.values() for one in several)


@pytest.mark.parametrize("case", [case for case in GOLDEN[RENDERER] if "headers" in case])
def test_of_the_others_two_attempts_differ_in_the_time_alone_and_two_compressors_in_what_is_sent(
    case, monkeypatch
):
    first, later = headers(case), headers(case, now=1_800_000_090.0)
    changed = {name for name in first if first[name] != later[name]}
    assert changed == (STAMPED if case["dialect"] == "samsara" else set())
    monkeypatch.setattr(packing, "LEVEL", 1)
    repacked = headers(case)
    assert {name for name in first if first[name] != repacked[name]} <= COMPRESSED | {"Signature"}


def test_the_stored_batches_of_this_release_are_what_it_makes():
    assert json.loads(json.dumps(cases())) == GOLDEN[RENDERER], (
        "before a release: python tests/fakes/golden_batches.py; after it a renderer of its own"
    )
