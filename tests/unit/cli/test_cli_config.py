from __future__ import annotations

import json
import tomllib

import pytest


@pytest.fixture
def file(home):
    def write(text):
        path = home / "config.toml"
        path.write_text(text)
        return str(path)

    return write


def test_check_says_ok_and_what_would_run(run):
    outcome = run("config", "check")
    lines = outcome.out.splitlines()
    assert (outcome.code, outcome.err) == (0, "")
    assert lines[0] == "ok"
    assert "file       none, defaults" in lines
    assert "listener   localhost:9000, Traintracks signatures required" in lines
    assert any(line.startswith("upstream   file: samsara and traintracks to files in /") for line in lines)


def test_check_hides_what_a_url_carries(run, file):
    outcome = run(
        "config",
        "check",
        "--config",
        file(
            'upstream = [{name="a", kind="samsara", signing="none", url="https://u:hunter2@h.example/?k=hunter2"}]'
        ),
    )
    assert outcome.code == 0
    assert "upstream   a: samsara to https://***@h.example/?k=***, not signed" in outcome.out
    assert "hunter2" not in outcome.out


def test_check_prints_each_problem_on_its_line(run, file):
    path = file('x = 1\n[spool]\nmax_bytes = "lots"\n')
    outcome = run("config", "check", "--config", path)
    assert outcome.code == 78
    first, second = outcome.out.splitlines()
    assert first.startswith(f"{path}:1: x: found an unknown key, expected one of state_dir")
    assert second == (
        f'{path}:3: spool.max_bytes: found "lots", expected a size such as "512MiB", at least 16MiB'
    )


def test_the_file_may_be_named_by_a_variable(run, file, monkeypatch):
    monkeypatch.setenv("WAYSTATION_CONFIG", file('device = "kiosk-17"'))
    assert 'device = "kiosk-17"' in run("config", "show").out


def test_show_prints_toml_or_json_of_the_same(run, file):
    path = file('device = "kiosk-17"')
    toml = run("config", "show", "--config", path)
    as_json = run("config", "show", "--config", path, "--format", "json")
    assert toml.code == as_json.code == 0
    assert tomllib.loads(toml.out) == json.loads(as_json.out)
    assert tomllib.loads(toml.out)["device"] == "kiosk-17"


def test_show_of_a_broken_file_prints_the_problems_and_nothing_else(run, file):
    outcome = run("config", "show", "--config", file("x = 1"))
    assert (outcome.code, outcome.out) == (78, "")
    assert outcome.err.startswith("waystation: ")


def test_schema_prints_json(run):
    outcome = run("config", "schema")
    assert outcome.code == 0
    assert json.loads(outcome.out)["additionalProperties"] is False


def test_a_file_that_cannot_be_read_is_a_wrong_configuration_and_not_wrong_usage(run, file, monkeypatch):
    # Root may read everything, so nothing but this stands for a file of another user.
    monkeypatch.setattr("os.access", lambda *_: False)
    outcome = run("config", "check", "--config", file("x = 1\n"))
    assert (outcome.code, outcome.err) == (78, "")
