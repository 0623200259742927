"""`--no-skips`: a run in which a test was skipped that this machine should be able to run has failed.

Else a tool that is no longer installed takes its tests with it, and nobody sees it. For CI, whose
machine has all that any test needs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

ALLOWED = {
    r"only root (can|may)|need root|LEFT OUT": "CI may run as an ordinary user",
    r"no (mount namespace|machine|disk|power|call) can be|lets nobody make network namespaces"
    r"|strace (may not|cannot) trace": "what a machine forbids, no package brings",
    r"no tree can be made": "the distribution's archive may be out of reach for a time",
    r"port 9000 is in use|has a configuration of its own": "a developer's own daemon goes first",
    r"has no IPv6": "a kernel without it is one to test on too",
    r"adjtimex\(2\) is forbidden": "so are containers that forbid it",
    r"there is no promtool": ".ci/run says so where no package of it can be had",
    r"packages are built on x86-64 alone": "pysqlite3 has no wheels for others",
    r"is Linux's|Linux's|on Linux|only Linux|Linux system|systemd's here|from /proc": "macOS has other tests",
}
"""What a skip's reason says, and why such a one is none that CI must not have."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    text = "fail where a test was skipped that this machine should be able to run"
    parser.addoption("--no-skips", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Look at reports where they come together: in the process that was started."""
    if config.getoption("--no-skips") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Gate())


class _Gate:
    """Counts the skips of a run."""

    def __init__(self) -> None:
        self._skips: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One test."""
        # An expected failure counts as skipped too.
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report.nodeid, report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """One module, which may be skipped as a whole."""
        if report.skipped:
            self._note(report.nodeid, report.longrepr)

    def _note(self, name: str, why: object) -> None:
        reason = str(why[2]) if isinstance(why, tuple) else str(why)
        if not any(re.search(pattern, reason) for pattern in ALLOWED):
            self._skips.append(f"{name}: {reason}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run."""
        if self._skips and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say why."""
        _tell(terminalreporter, self._skips)


def _tell(terminal: pytest.TerminalReporter, skips: Sequence[str]) -> None:
    if skips:
        terminal.section("skipped, and --no-skips was asked for")
        for skip in skips:
            terminal.write_line(skip)
