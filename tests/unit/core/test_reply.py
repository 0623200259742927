from __future__ import annotations

import pytest

from collector.core.reply import http_date


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Sun, 22 Nov 2026 12:00:00 GMT", 1_795_348_800.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2300", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_date_that_no_right_clock_can_say_is_not_said(value, seconds):
    assert http_date(value) == seconds
