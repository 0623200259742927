"""Carrying a plan out, twice."""

from __future__ import annotations

import stat
import sys

import pytest

from collector.errors import ServiceError
from collector.host.service.steps import (
    AfterChange,
    MakeDirectory,
    Plan,
    Remains,
    Remove,
    RemoveOwn,
    Run,
    Write,
    carry_out,
)


def told(*steps, **plan):
    lines = []
    carry_out(Plan(steps, **plan), lines.append)
    return lines


def test_a_second_time_changes_nothing(tmp_path):
    steps = [MakeDirectory(tmp_path / "d", 0o700), Write(tmp_path / "d/file", b"text", 0o640)]
    assert len(told(*steps)) == 2
    assert told(*steps) == []
    assert stat.S_IMODE((tmp_path / "d/file").stat().st_mode) == 0o640
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["file"]


def test_what_was_changed_by_hand_is_put_right(tmp_path):
    file = tmp_path / "file"
    told(Write(file, b"text"))
    file.chmod(0o666)
    assert told(Write(file, b"text")) == [f"write {file} (0644)"]
    file.write_bytes(b"other")
    told(Write(file, b"text"))
    assert file.read_bytes() == b"text"


def test_removing_what_is_not_there_is_done_already(tmp_path):
    (tmp_path / "d/e").mkdir(parents=True)
    assert len(told(Remove(tmp_path / "d"))) == 1
    assert told(Remove(tmp_path / "d"), Remove(tmp_path / "file")) == []


def test_some_commands_run_only_where_something_changed(tmp_path):
    mark = tmp_path / "mark"
    touch = AfterChange(Run((sys.executable, "-c", f"open({str(mark)!r}, 'w')")))
    told(Run((sys.executable, "-c", "")), touch)
    assert not mark.exists()
    told(Write(tmp_path / "file", b"text"), touch)
    assert mark.exists()


def test_a_command_that_fails_stops_the_plan_and_says_why(tmp_path):
    fails = (sys.executable, "-c", "import sys; sys.exit('no such unit')")
    with pytest.raises(ServiceError, match="no such unit"):
        told(Run(fails), Write(tmp_path / "file", b"text"))
    assert not (tmp_path / "file").exists()
    assert told(Run(fails, fine=(1,))) == [f"run {' '.join(fails)}"]


def test_a_command_that_says_it_succeeded_is_believed_only_where_that_can_be_seen(tmp_path):
    there = (sys.executable, "-c", f"open({str(tmp_path / 'mark')!r})")
    make = (sys.executable, "-c", f"open({str(tmp_path / 'mark')!r}, 'w')")
    with pytest.raises(ServiceError, match="failed"):
        told(Run((sys.executable, "-c", ""), unless=there))
    assert len(told(Run(make, unless=there))) == 1
    assert told(Run(make, unless=there)) == []


def test_what_is_ours_is_removed_from_a_directory_that_holds_more(tmp_path):
    for name in ("spool.db", "spool.db-wal", "config.toml"):
        (tmp_path / "d" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "d" / name).touch()
    step = RemoveOwn(tmp_path / "d", ("spool.db*", "run"))
    told(step)
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["config.toml"]
    assert told(step) == []
    (tmp_path / "d/config.toml").unlink()
    told(step)
    assert not (tmp_path / "d").exists()


def test_what_is_left_is_told_where_it_is_there(tmp_path):
    left = (Remains(tmp_path, "the events are", "some day"), Remains(tmp_path / "gone", "the logs are"))
    assert told(remains=left) == [f"the events are kept: {tmp_path} (some day)"]


def test_an_account_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ServiceError, match="no-such-user"):
        told(MakeDirectory(tmp_path / "d", owner="no-such-user:no-such-group"))
    assert not (tmp_path / "d").exists()


def test_a_command_that_is_not_there_is_named():
    with pytest.raises(ServiceError, match="there is no no-such-program"):
        told(Run(("no-such-program",)))


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match="cannot write"):
        told(Write(tmp_path / "file/below", b""))
