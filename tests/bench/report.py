"""What was measured, as a table, JSON and a chart."""

from __future__ import annotations

import json
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.chart import bars

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS_WANTED = 3
"""With fewer that count, nothing is compared."""

YARDSTICKS = {
    "listener": "share of the listener",
    "sqlite": "share of sqlite",
    "jetstream": "times JetStream",
}
"""The sides that others are compared with, and the heads of those columns."""

NO_EVENTS = ("fdatasync",)
"""Sides whose rate is of something else than events, and is no share or multiple of theirs."""


def _quotient(side: str, yardstick: str, found: dict[str, dict[str, Any]]) -> str:
    if side in NO_EVENTS:
        return ""
    quotient = found[side]["rate"] / found[yardstick]["rate"]
    return f"{quotient:.1f}" if yardstick == "jetstream" else f"{quotient:.0%}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def brief(figure: dict[str, Any]) -> str:
    """One measurement in a few words."""
    words = []
    if "rate" in figure:
        words.append(f"{figure['rate']:,.0f}/s")
    if "p99" in figure:
        words.append(f"{figure['p50']:.2f}/{figure['p99']:.2f}/{figure['p999']:.2f} ms")
    if "peak" in figure:
        words.append(f"{figure['peak'] / 1e6:.0f} MB")
    for name, value in figure.items():
        if name not in {"rate", "p50", "p99", "p999", "peak", "resident", "requests", "seconds", "failed"}:
            words.append(f"{name} {value:,.4g}" if isinstance(value, int | float) else f"{name} {value}")
    return " ".join(words)


def medians(rounds: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By side, the median of each figure over the rounds that count."""
    gathered: dict[str, dict[str, list[float]]] = {}
    for round_ in rounds:
        if not round_["busy"]:
            for side, figures in round_["sides"].items():
                for name, value in figures.items():
                    gathered.setdefault(side, {}).setdefault(name, []).append(value)
    return {
        side: {name: median(values) for name, values in figures.items()}
        | {"rounds": len(figures[next(iter(figures))])}
        for side, figures in gathered.items()
    }


def compared(found: dict[str, dict[str, Any]]) -> bool:
    """Whether each side that was measured has enough rounds that count."""
    return bool(found) and all(figures["rounds"] >= ROUNDS_WANTED for figures in found.values())


def table(results: dict[str, Any]) -> str:
    """All parts, in Markdown."""
    lines = ["; ".join(f"{name}: {value}" for name, value in results["machine"].items()), ""]
    if shape := results.get("bodies"):
        size, ratio = shape["bytes_per_event"], shape["ratio"]
        lines += [f"bodies of 100 events: {size:.0f} bytes an event; zlib packs them {ratio:.1f} to one", ""]
    for name, rounds in results["parts"].items():
        found = medians(rounds)
        counted = sum(not round_["busy"] for round_ in rounds)
        others = median(round_["others"] for round_ in rounds)
        names = sorted({who for round_ in rounds for who in round_["names"]})
        few = not compared(found)
        note = f": fewer than {ROUNDS_WANTED} of each side, so not compared" if few else ""
        constant = name.startswith("latency")  # whose rate is given
        heads = [side for side in YARDSTICKS if side in found and not constant]
        whose = f": {', '.join(names)}" if names else ""
        lines += [
            f"### {name}",
            "",
            f"{counted} of {len(rounds)} rounds count{note}; others took {others:.1%} (median){whose}.",
            "",
            _row("side", "figures" if few else "medians", *(YARDSTICKS[head] for head in heads)),
            "| --- " * (2 + len(heads)) + "|",
        ]
        for side, figures in found.items():
            shares = ["" if few else _quotient(side, head, found) for head in heads]
            lines.append(_row(side, brief(figures), *shares))
        lines.append("")
    return "\n".join(lines)


def write(results: dict[str, Any], directory: Path) -> None:
    """Write `report.md`, `report.json` and `report.svg`."""
    (directory / "report.md").write_text(table(results))
    summary = {name: medians(rounds) for name, rounds in results["parts"].items()}
    watched = {
        name: [
            {"others": round_["others"], "names": round_["names"], "counts": not round_["busy"]}
            for round_ in rounds
        ]
        for name, rounds in results["parts"].items()
    }
    whole = {
        "machine": results["machine"],
        "bodies": results.get("bodies"),
        "medians": summary,
        "rounds": watched,
    }
    (directory / "report.json").write_text(json.dumps(whole, indent=1))
    charts = []
    for name, figures in summary.items():
        if not compared(figures):
            continue
        if name.startswith(("rates", "peers", "sketch")):
            charts.append((f"{name}: a second", {side: row["rate"] for side, row in figures.items()}))
        if name.startswith("latency"):
            rows = {f"{side} {at}": row[at] for side, row in figures.items() for at in ("p50", "p99", "p999")}
            charts.append((f"{name}: ms", rows))
    (directory / "report.svg").write_text(bars(charts))
