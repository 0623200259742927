"""Dead letters, as a table for people."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click

from collector.config.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.spool.letters import Letter

_HEAD = ("number", "lane", "accepted", "died", "status", "size", "reason")
_TO_THE_RIGHT = {"number", "status", "size"}


def show(letters: Sequence[Letter], *, more: bool) -> None:
    """Print them, a line each; `more` says that there are others behind them."""
    if not letters:
        click.echo("there are no dead letters")
        return
    rows = [_HEAD, *map(_row, letters)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if name in _TO_THE_RIGHT else cell.ljust(width)
            for name, cell, width in zip(_HEAD, row, widths, strict=True)
        )
        click.echo("  ".join(cells).rstrip())
    if more:
        click.echo("there are more: see --limit, or export them")


def _row(letter: Letter) -> tuple[str, ...]:
    # What an upstream answers may hold anything, also what steers a terminal.
    reason = "".join(char if char.isprintable() else " " for char in letter.reason)
    return (
        str(letter.id),
        letter.lane,
        letter.day,
        _moment(letter.died_at),
        str(letter.status or ""),
        format_size(letter.size),
        reason,
    )


def _moment(ms: int) -> str:
    """An instant, ms since 1970, to the second in UTC."""
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=ms)
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")
