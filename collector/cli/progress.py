"""Progress bars for what takes long: on standard error, and only where that is a terminal."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.progress import Progress, ProgressColumn, TaskID


@contextmanager
def bar(what: str, total: int | None) -> Generator[Callable[[int], None]]:
    """Show how far something is, while held; gives the function that is told of each advance.

    Args:
        what: is done.
        total: of the steps; None where nobody knows.
    """
    if not sys.stderr.isatty():
        yield _unseen
        return
    from rich.progress import MofNCompleteColumn  # noqa: PLC0415 - for terminals alone

    with _bars(MofNCompleteColumn()) as shown:
        task = shown.add_task(what, total=total)
        yield lambda steps: shown.advance(task, steps)


@contextmanager
def steps() -> Generator[Callable[[str, int, int], None]]:
    """Show how far each of several steps is, from the first that is told on, while held.

    Gives the function that is told what is being done, how much of it is done and how much there is, 0
    where nobody knows. For a terminal; nothing is shown, and rich not imported, before it is called.
    """
    with ExitStack() as stack:
        tell: Callable[[str, int, int], None] | None = None

        def told(what: str, done: int, of: int) -> None:
            nonlocal tell
            if tell is None:
                tell = stack.enter_context(_stages())
            tell(what, done, of)

        yield told


@contextmanager
def _stages() -> Generator[Callable[[str, int, int], None]]:
    from rich.progress import TaskProgressColumn  # noqa: PLC0415 - for terminals alone

    with _bars(TaskProgressColumn()) as shown:
        tasks: dict[str, TaskID] = {}

        def told(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=None)
            shown.update(tasks[what], completed=done, total=of or None)

        yield told


def _bars(advance: ProgressColumn) -> Progress:
    """Bars, each with what it is of, how far it is, and times; they are gone when all is done."""
    from rich.console import Console  # noqa: PLC0415 - for terminals alone
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        advance,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # What the command prints goes where it was sent to, whatever is shown beside it.
        redirect_stdout=False,
    )


def _unseen(_steps: int) -> None:
    """Show nothing."""
