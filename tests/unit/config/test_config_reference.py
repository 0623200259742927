from __future__ import annotations

from pathlib import Path

from collector.config.reference import markdown

PAGE = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"


def test_configuration_reference_is_what_the_model_says():
    assert PAGE.read_text(encoding="utf-8") == markdown(), "run `make docs`"


def test_configuration_reference_has_every_key_of_nested_tables():
    page = markdown()
    for key in (
        "`[upstream.backoff]`",
        "`max_batch_bytes`",
        "`[[product]]`",
        "`commit_interval`",
        "`state_dir`",
    ):
        assert key in page
