"""Tables of text in columns, for the commands that must start at once.

rich draws finer ones, and takes longer to import than such a command may take in all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Cell:
    """A text, and the colour that a terminal shows it in."""

    text: str
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A title, a head and rows.

    Attributes:
        left: how many of the first columns are text, set to the left; the others are numbers.
    """

    title: str
    columns: Sequence[str]
    left: int
    rows: list[Sequence[Cell]] = field(default_factory=list)

    def add(self, *cells: str | Cell) -> None:
        """Add a row."""
        self.rows.append([cell if isinstance(cell, Cell) else Cell(cell) for cell in cells])

    @property
    def width(self) -> int:
        """Columns of a terminal that its widest line takes."""
        return max(_width(self.title), sum(self._widths()) + len(_GAP) * (len(self.columns) - 1))

    def lines(self) -> Iterator[str]:
        """It, with the colours of a terminal: whoever prints it elsewhere strips them."""
        yield styled(self.title, bold=True)
        widths = self._widths()
        head = [styled(text, bold=True) for text in self._aligned(self.columns, widths)]
        yield _GAP.join(head).rstrip()
        for row in self.rows:
            texts = self._aligned([cell.text for cell in row], widths)
            shown = [styled(text, fg=cell.colour) for text, cell in zip(texts, row, strict=True)]
            yield _GAP.join(shown).rstrip()

    def _widths(self) -> list[int]:
        texts = ([cell.text for cell in row] for row in self.rows)
        return [max(map(_width, column)) for column in zip(*chain([self.columns], texts), strict=True)]

    def _aligned(self, texts: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
        for index, (text, width) in enumerate(zip(texts, widths, strict=True)):
            room = " " * (width - _width(text))
            yield text + room if index < self.left else room + text


def styled(text: str, *, fg: str | None = None, bold: bool | None = None) -> str:
    """A text in the style of a terminal that takes one; `NO_COLOR` keeps colours away."""
    if os.environ.get("TERM", "") in {"", "dumb", "unknown"}:
        return text
    if os.environ.get("NO_COLOR"):
        fg = None
    return click.style(text, fg=fg, bold=bold) if fg or bold else text


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - for texts that need it alone

    return cell_len(text)
