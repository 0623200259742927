from __future__ import annotations

import os

import click
import msgspec
import pytest
from fakes.statuses import make_lane, make_row, make_status

from collector.admin.status import ListenerView
from collector.cli import status_table
from collector.core.batch import lane_name

KEY = "a32e6578-17b7-11e4-930a-bc764e1c05e4"
LONG = lane_name("traintracks", "traintracks", KEY)
REASON = "503 [from] the upstream, and it goes on for longer than the eighty columns of a terminal are"
STATUS = make_status(
    lanes=[make_lane("samsara/samsara"), make_lane(LONG, state="retrying", reason=REASON)],
    ledger=[make_row("samsara/samsara"), make_row(LONG)],
)


@pytest.fixture
def lines(monkeypatch, capsys):
    def show(status, *, columns=None):
        """The lines that are printed to a pipe, or to a terminal of so many columns."""
        monkeypatch.setenv("COLUMNS", str(columns or 80))
        monkeypatch.setenv("TERM", "dumb" if columns is None else "xterm")
        monkeypatch.setattr("sys.stdout.isatty", lambda: columns is not None)
        status_table.show(status)
        return click.unstyle(capsys.readouterr().out).splitlines()

    return show


def row_of(lines, start):
    """The last line that begins so, in its cells."""
    return [line for line in lines if line.startswith(start)][-1].split()


def test_in_a_pipe_no_cell_is_cut_whatever_the_width(lines):
    shown = lines(STATUS)
    assert row_of(shown, "lane") == [
        "lane", "day", "accepted", "pending", "delivered", "dead", "expired", "evicted", "damaged",
    ]  # fmt: skip
    assert row_of(shown, LONG) == [LONG, "2026-07-29", "1,234,567", "12,345", "1,222,222", "0", "0", "0", "0"]
    assert f"{LONG}: {REASON}" in shown
    assert "…" not in "".join(shown)


def test_a_terminal_of_80_columns_gets_tables_that_fit(lines):
    shown = lines(STATUS, columns=80)
    tables = [line for line in shown if REASON not in line]
    assert max(map(len, tables)) <= 80
    short = lane_name("traintracks", "traintracks", "a32e6578…")
    assert row_of(tables, "lane") == ["lane", "day", "accepted", "pending", "delivered"]
    assert row_of(tables, short) == [short, "2026-07-29", "1,234,567", "12,345", "1,222,222"]
    assert ["retrying", "12,345", "7.7MiB"] in [line.split()[1:4] for line in tables]
    assert f"{LONG}: {REASON}" in shown


def test_a_narrow_terminal_still_shows_each_column_that_is_not_all_zero(lines):
    status = make_status(ledger=[make_row("samsara/samsara", dead=7)])
    shown = lines(status, columns=40)
    assert row_of(shown, "lane")[-1] == "dead"
    assert row_of(shown, "samsara/samsara")[-1] == "7"


def test_a_wide_terminal_gets_everything(lines):
    assert lines(STATUS, columns=200)[1:] == lines(STATUS)[1:]


def test_unknown_outcomes_have_a_column_where_there_are_any(lines):
    assert not any("outcome unknown" in line for line in lines(STATUS))
    shown = lines(make_status(ledger=[make_row("samsara/samsara", outcome_unknown=4)]))
    assert any(line.endswith("damaged  outcome unknown") for line in shown)
    assert row_of(shown, "samsara/samsara")[-1] == "4"


def test_sizes_are_rounded(lines):
    assert "device kiosk-17  epoch 9d1e  spool /var/lib/waystation: 7.7MiB of 1GiB" in lines(STATUS)


@pytest.mark.parametrize(("clock", "told"), [("unknown", 1), ("plausible", 1), ("confirmed", 0), (None, 0)])
def test_a_clock_that_is_not_confirmed_is_told(lines, clock, told):
    shown = lines(msgspec.structs.replace(STATUS, clock=clock))
    assert [line.split(":")[0] for line in shown if line.startswith("clock ")] == [f"clock {clock}"] * told


def test_a_reader_that_goes_away_is_an_error_and_no_exit(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    gone = os.fdopen(writing, "w")
    monkeypatch.setattr("sys.stdout", gone)
    with pytest.raises(BrokenPipeError):
        status_table.show(STATUS)
    with pytest.raises(BrokenPipeError):
        gone.close()


def test_a_terminal_gets_colours_where_it_takes_them_and_nobody_minds(monkeypatch):
    status = msgspec.structs.replace(STATUS, healthy=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = "\n".join(status_table.lines(status))
    assert "\x1b[31mnot healthy\x1b[0m" in shown
    assert "\x1b[33mretrying" in shown
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in "\n".join(status_table.lines(status))
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in "\n".join(status_table.lines(status))


def test_columns_stand_in_line_behind_characters_that_are_wide(lines):
    listeners = [
        ListenerView(address="unix:/tmp/驛.sock", connections=1, requests=2),
        ListenerView(address="unix:/tmp/12.sock", connections=3, requests=4),
    ]
    shown = lines(make_status(listeners=listeners))
    assert "unix:/tmp/驛.sock     1         2" in shown
    assert "unix:/tmp/12.sock     3         4" in shown
