"""A chart of horizontal bars, as SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, LABEL, ROW, GAP = 720, 150, 22, 34


def bars(charts: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    """Charts one below the other; each has its own scale."""
    parts = []
    y = 0
    for title, values in charts:
        y += GAP
        parts.append(f'<text x="0" y="{y - 10}" font-weight="bold">{title}</text>')
        longest = max(values.values(), default=0.0) or 1.0
        for name, value in values.items():
            length = (WIDTH - LABEL - 110) * value / longest
            colour = "#2f6f9f" if name.startswith("daemon") else "#a9b7c3"
            text = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
            parts += [
                f'<text x="{LABEL - 8}" y="{y + 15}" text-anchor="end">{name}</text>',
                f'<rect x="{LABEL}" y="{y + 3}" width="{length:.1f}" height="{ROW - 6}" fill="{colour}"/>',
                f'<text x="{LABEL + length + 6:.1f}" y="{y + 15}">{text}</text>',
            ]
            y += ROW
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 10}"'
        ' font-family="sans-serif" font-size="13">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y + 10}" fill="white"/>', *parts, "</svg>\n"])
