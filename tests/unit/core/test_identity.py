from __future__ import annotations

import http_sf
import pytest
from fakes.forwarding import make_batch
from hypothesis import given
from hypothesis import strategies as st

from collector.core.identity import batch_headers, quoted


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_a_quoted_string_reads_back_as_it_was(text):
    assert http_sf.parse(quoted(text).encode(), tltype="item")[0] == text


@pytest.mark.parametrize("text", ["Zoë", "a\r\nX-Evil: 1", "\x7f"])
def test_what_a_header_cannot_carry_is_refused_and_not_repeated(text):
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        quoted(text)
    assert text not in str(caught.value)


def test_headers_say_which_batch_and_which_positions():
    batch = make_batch(first=100, events=3)
    assert batch_headers(batch) == {
        "Idempotency-Key": f'"{batch.id}"',
        "Waystation-Device": '"kiosk-17"',
        "Waystation-Batch": f'epoch="{batch.epoch}", lane="samsara/samsara", first=100, last=102',
    }


def test_a_batch_that_stands_for_another_says_so():
    assert batch_headers(make_batch(replaces="ab" * 16))["Waystation-Replaces"] == f'"{"ab" * 16}"'
