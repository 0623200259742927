from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config.units import (
    format_duration,
    format_mode,
    format_size,
    parse_duration,
    parse_mode,
    parse_size,
    rounded_duration,
    rounded_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("1GiB", 2**30),
        ("1GB", 10**9),
        ("512 MiB", 512 * 2**20),
        ("1.5KiB", 1536),
        ("3kB", 3000),
        ("3KB", 3000),
        ("2TiB", 2**41),
    ],
)
def test_sizes_are_read_with_their_unit(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1G",
        "1M",
        "1 G iB",
        "GiB",
        "-1MiB",
        "1e3B",
        "0.1B",
        "1mib",
        "1MiB\n",
        "1.MiB",
        "٣MiB",
        "9" * 17 + "B",
    ],
)
def test_sizes_without_a_clear_meaning_are_refused(text):
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0.0),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("30d", 2_592_000.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("2w", 1_209_600.0),
    ],
)
def test_durations_are_read_with_their_units(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "s", "-1s", "1 minute", "1s,", "1M", "inf", "1s\n", "1h-30m"])
def test_durations_without_a_clear_meaning_are_refused(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "mode"), [("0660", 0o660), ("600", 0o600), ("0777", 0o777)])
def test_modes_are_octal(text, mode):
    assert parse_mode(text) == mode
    assert format_mode(mode) == f"{mode:04o}"


@pytest.mark.parametrize("text", ["", "0o660", "0668", "1777", "66", "rw-"])
def test_other_modes_are_refused(text):
    with pytest.raises(ValueError, match="not a mode"):
        parse_mode(text)


@given(st.integers(0, 2**53))
def test_a_size_comes_back_from_its_text(size):
    assert parse_size(format_size(size)) == size


@given(st.floats(0, 10**9))
def test_a_duration_comes_back_from_its_text_to_the_nanosecond(seconds):
    assert parse_duration(format_duration(seconds)) == round(seconds, 9)


def test_texts_use_the_largest_unit_that_fits():
    assert format_size(3 * 2**20) == "3MiB"
    assert format_size(1000) == "1000B"
    assert format_duration(2_592_000) == "30d"
    assert format_duration(90) == "90s"
    assert format_duration(0.25) == "250ms"
    assert format_duration(0) == "0s"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1KiB"),
        (8_044_969, "7.7MiB"),
        (2**20 - 1, "1MiB"),
        (2**30, "1GiB"),
        (2**60, "1048576TiB"),
    ],
)
def test_people_read_sizes_with_one_decimal(size, text):
    assert rounded_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (97, "1m 37s"),
        (3601, "1h"),
        (3661, "1h 1m"),
        (1_000_000, "11d 13h"),
    ],
)
def test_people_read_durations_in_two_units(seconds, text):
    assert rounded_duration(seconds) == text
