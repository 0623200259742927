"""The process: runs a command, and turns whatever comes out of it into an exit code."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from collector.cli import waystation
from collector.errors import OutputFailed, UsageError, WaystationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from _typeshed import ReadableBuffer

PROGRAM = "waystation"
EX_SOFTWARE = 70
EX_INTERRUPTED = 128 + 2
EX_BROKEN_PIPE = 128 + 13
"""What a shell reports of a program that SIGPIPE ended: nobody reads the output any more."""

_COMPLETION = "_WAYSTATION_COMPLETE"
_STDOUT = 1
_STDERR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; the process's own by default.

    Returns:
        The exit code: 0, that of the `WaystationError`, 130 when interrupted, 141 when
        nobody reads the output any more, or 70 for what is a bug. What went wrong is told
        in one line on standard error.
    """
    with _own_output():
        try:
            code = _run(list(sys.argv[1:] if arguments is None else arguments))
            sys.stdout.flush()
        except SystemExit:
            raise
        except BaseException as error:  # noqa: ASYNC103, BLE001 - the one place that knows what to do with it
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
    leaves = [_known(leaf) for leaf in _leaves(error)]
    if any(isinstance(leaf, KeyboardInterrupt | click.Abort) for leaf in leaves):
        return EX_INTERRUPTED
    if any(isinstance(leaf, OutputFailed | _OutputUnread) for leaf in leaves):
        _drop(_STDOUT)
    if all(isinstance(leaf, _OutputUnread) for leaf in leaves):
        return EX_BROKEN_PIPE
    code = 0
    for leaf in leaves:
        if isinstance(leaf, WaystationError):
            _complain(str(leaf))
            code = code or leaf.exit_code
        else:
            _complain_of_a_bug(leaf)
            code = EX_SOFTWARE
    return code


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group of errors; a nursery raises nothing else."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _known(error: BaseException) -> BaseException:
    """The error, as one of the project's own where it is click's."""
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        command = PROGRAM if context is None else context.command_path
        return UsageError(f"{error.format_message().removesuffix('.')} (see `{command} --help`)")
    return error


def _complain_of_a_bug(error: BaseException) -> None:
    from collector.config.redact import redact_text  # noqa: PLC0415 - bugs only

    if os.environ.get("WAYSTATION_DEBUG", "") not in {"", "0"}:
        import traceback  # noqa: PLC0415

        _tell(redact_text("".join(traceback.format_exception(error))).splitlines())
        return
    what = " ".join(redact_text(f"{type(error).__name__}: {error}").split())
    _complain(f"this is a bug: {what} (set WAYSTATION_DEBUG=1 to see where)")


def _complain(text: str) -> None:
    _tell(f"{PROGRAM}: {line}" for line in text.splitlines())


def _tell(lines: Iterable[str]) -> None:
    try:
        for line in lines:
            click.echo(line, err=True)
    except OSError:
        # The exit code says what there is to say; Python's own flush must not change it.
        _drop(_STDERR)


class _OutputUnread(Exception):
    """Nobody reads standard output any more.

    No OSError: rich takes a broken pipe for its own affair and leaves with 1.
    """


class _Output(io.FileIO):
    """Standard output, whose errors cannot be taken for those of another file or socket."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise _OutputUnread from None
        except OSError as error:
            raise OutputFailed(error.strerror or str(error)) from None


@contextmanager
def _own_output() -> Iterator[None]:
    """Put an `_Output` in the place of the process's own standard output."""
    plain = sys.stdout
    if plain is None:
        _occupy_stdout()
    elif plain is not sys.__stdout__:
        yield  # it belongs to whoever called `main`
        return
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(_STDOUT, "w", closefd=False)),
        encoding=None if plain is None else plain.encoding,
        errors=None if plain is None else plain.errors,
        line_buffering=plain is not None and plain.line_buffering,
    )
    try:
        yield
    finally:
        sys.stdout = plain


def _occupy_stdout() -> None:
    """Keep other files from getting the number of a standard output that is closed.

    What takes it can be opened everywhere, and refuses to be written to.
    """
    nowhere = os.open(os.devnull, os.O_RDONLY)
    if nowhere != _STDOUT:
        os.dup2(nowhere, _STDOUT)
        os.close(nowhere)


def _drop(descriptor: int) -> None:
    """Let what is still buffered for a descriptor go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
