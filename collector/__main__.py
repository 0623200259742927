"""The process: runs a command, and turns whatever comes out of it into an exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from collector.cli import waystation
from collector.errors import UsageError, WaystationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRAM = "waystation"
EX_SOFTWARE = 70
EX_INTERRUPTED = 128 + 2
EX_BROKEN_PIPE = 128 + 13
"""What a shell reports of a program that SIGPIPE killed: nobody reads the output any more."""

_COMPLETION = "_WAYSTATION_COMPLETE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; the process's by default.

    Returns:
        The exit code: 0, that of the `WaystationError`, 130 when interrupted, or 70 for
        what is a bug. What went wrong is told in one line on standard error.
    """
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BaseException as error:
        return _report(error)
    return code


def _run(arguments: list[str]) -> int:
    instruction = os.environ.get(_COMPLETION)
    if instruction:
        from click.shell_completion import shell_complete  # noqa: PLC0415 - for completion alone

        return shell_complete(waystation, {}, PROGRAM, _COMPLETION, instruction)
    try:
        with waystation.make_context(PROGRAM, arguments) as context:
            result: object = waystation.invoke(context)
    except click.exceptions.Exit as request:
        return request.exit_code
    return result if isinstance(result, int) else 0


def _report(error: BaseException) -> int:
    """Tell what went wrong, and say with which code to leave."""
    leaves = list(_leaves(error))
    if any(isinstance(leaf, KeyboardInterrupt | click.exceptions.Abort) for leaf in leaves):
        return EX_INTERRUPTED
    if all(isinstance(leaf, BrokenPipeError) for leaf in leaves):
        _drop_output()
        return EX_BROKEN_PIPE
    known = [leaf for leaf in (_as_known(leaf) for leaf in leaves) if leaf is not None]
    for leaf in known:
        for line in str(leaf).splitlines():
            _complain(line)
    if len(known) == len(leaves):
        return known[0].exit_code
    ...
    return EX_SOFTWARE
