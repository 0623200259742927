"""Showing something again and again: in place on a terminal, one after the other elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from collector.errors import DaemonUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

interval_option = click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks.",
)
"""`--interval SECONDS`, handed to the command as `interval: float`."""

count_option = click.option(
    "-n", "--count", type=click.IntRange(1), help="End after so many looks. [default: go on]"
)
"""`--count N`, handed to the command as `count: int | None`."""


def repeat(frame: Callable[[], str], *, interval: float, count: int | None) -> None:
    """Show a frame, and the next one after each interval, until interrupted or so many were shown.

    A daemon that does not answer is told in the frame's place, and asked again: whoever watches a
    daemon wants to see it come back.

    Args:
        frame: makes the text of one, without a line break at its end.
        interval: seconds.
        count: of frames; None for no end.
    """
    if sys.stdout.isatty():
        _in_place(frame, interval=interval, count=count)
        return
    left = count
    while True:
        click.echo(_made(frame))
        sys.stdout.flush()
        left = None if left is None else left - 1
        if left == 0:
            return
        time.sleep(interval)


def _in_place(frame: Callable[[], str], *, interval: float, count: int | None) -> None:
    from rich.console import Console  # noqa: PLC0415 - for terminals alone
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    left = count
    last = ""
    with Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live:
        while True:
            last = _made(frame)
            live.update(Text.from_ansi(last, no_wrap=True, overflow="crop"), refresh=True)
            left = None if left is None else left - 1
            if left == 0:
                break
            time.sleep(interval)
    # The screen is gone with the live display; what it showed last is what was asked for.
    click.echo(last)


def _made(frame: Callable[[], str]) -> str:
    try:
        return frame()
    except DaemonUnavailable as error:
        return f"{error}"
