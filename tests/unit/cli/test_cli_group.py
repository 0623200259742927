from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import click
import pytest

import collector
from collector import cli
from collector.__main__ import main
from collector.errors import SpoolLocked, UsageError


def test_help_lists_every_command_without_importing_one():
    probe = (
        "import sys, collector.__main__ as program\n"
        "code = program.main(['--help'])\n"
        "print(sorted(name for name in sys.modules if name.startswith('collector.')), file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    for name, entry in cli.COMMANDS.items():
        assert name in done.stdout
        assert entry.summary in done.stdout
    assert done.stderr.strip() == "['collector.__main__', 'collector.cli', 'collector.errors']"


def test_no_command_shows_the_help(run):
    assert run() == run("--help")
    assert run().code == 0


def test_the_version_is_told(run):
    assert run("--version").out == f"waystation {collector.__version__}\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_begins_its_own_help_as_the_list_says(name):
    entry = cli.COMMANDS[name]
    if importlib.util.find_spec(entry.target.partition(":")[0]) is None:
        pytest.skip("not in this build")
    command = cli.waystation.get_command(click.Context(cli.waystation), name)
    assert command is not None
    assert (command.help or "").startswith(entry.summary.removesuffix("."))
    assert command.name == name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "waystation: No such command 'nonsense' (see `waystation --help`)\n"),
        (["send", "--nonsense"], "waystation: No such option '--nonsense' (see `waystation send --help`)\n"),
        (["config"], "waystation: Missing command (see `waystation config --help`)\n"),
    ],
)
def test_wrong_usage_is_one_line_and_code_64(run, arguments, said):
    outcome = run(*arguments)
    assert (outcome.code, outcome.out, outcome.err) == (64, "", said)


def raising(monkeypatch, error):
    @click.command
    def broken():
        raise error

    monkeypatch.setitem(cli.COMMANDS, "broken", cli.Entry("collector.cli.options:broken", "Fails."))
    monkeypatch.setattr("collector.cli.options.broken", broken, raising=False)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("no such thing"), 64, "waystation: no such thing\n"),
        (
            SpoolLocked(path="/s", owner=7),
            75,
            "waystation: the spool /s is in use by process 7; stop it first",
        ),
        (ExceptionGroup("n", [ExceptionGroup("m", [UsageError("deep")])]), 64, "waystation: deep\n"),
        (KeyboardInterrupt(), 130, ""),
        (BaseExceptionGroup("n", [KeyboardInterrupt()]), 130, ""),
    ],
)
def test_errors_of_the_tree_are_lines_and_codes(run, monkeypatch, error, code, said):
    raising(monkeypatch, error)
    outcome = run("broken")
    assert outcome.code == code
    assert outcome.err.startswith(said)
    assert "Traceback" not in outcome.err


def test_a_bug_is_one_line_and_says_how_to_see_more(run, monkeypatch):
    said = "at https://me:hunter2@h/\nin two lines, Authorization: Bearer hunter2hunter2"
    raising(monkeypatch, RuntimeError(said))
    outcome = run("broken")
    assert outcome.code == 70
    assert "hunter2" not in outcome.err
    assert outcome.err.count("\n") == 1
    assert "this is a bug: RuntimeError: at https://***@h/ in two lines" in outcome.err
    assert "WAYSTATION_DEBUG=1" in outcome.err
    monkeypatch.setenv("WAYSTATION_DEBUG", "1")
    told = run("broken").err
    assert "Traceback" in told
    assert "https://***@h/" in told
    assert "hunter2" not in told


def test_a_bug_beside_a_known_error_is_still_a_bug(run, monkeypatch):
    raising(monkeypatch, ExceptionGroup("n", [UsageError("known"), ZeroDivisionError("x")]))
    outcome = run("broken")
    assert outcome.code == 70
    assert "waystation: known\n" in outcome.err


def test_a_command_may_return_its_code(run, monkeypatch):
    @click.command
    def coded():
        return 3

    monkeypatch.setitem(cli.COMMANDS, "coded", cli.Entry("collector.cli.options:coded", "Counts."))
    monkeypatch.setattr("collector.cli.options.coded", coded, raising=False)
    assert run("coded").code == 3


def test_a_reader_that_goes_away_is_no_error():
    # Buffered, so that the interpreter itself has something left to write at its exit.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "collector", "--version"],
            stdout=gone,
            stderr=subprocess.PIPE,
            env=environ,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")


def test_completion_is_answered(monkeypatch, capsys):
    monkeypatch.setenv("_WAYSTATION_COMPLETE", "bash_source")
    assert main([]) == 0
    assert "_WAYSTATION_COMPLETE" in capsys.readouterr().out
