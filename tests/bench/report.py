"""What was measured, as a table, JSON and a chart."""

from __future__ import annotations

import json
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.chart import bars

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS_WANTED = 3


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


def table(results: dict[str, Any]) -> str:
    """All parts, in Markdown."""
    machine = results["machine"]
    lines = ["; ".join(f"{name}: {value}" for name, value in machine.items()), ""]
    for name, rounds in results["parts"].items():
        found = medians(rounds)
        counted = sum(not round_["busy"] for round_ in rounds)
        others = median(round_["others"] for round_ in rounds)
        note = "" if counted >= ROUNDS_WANTED or len(rounds) < ROUNDS_WANTED else ": too few, not compared"
        lines += [
            f"### {name}",
            "",
            f"{counted} of {len(rounds)} rounds count{note}; others took {others:.1%} (median).",
            "",
            "| side | figures (medians) | share of the listener |",
            "| --- | --- | --- |",
        ]
        whole = found.get("listener", {}).get("rate")
        for side, figures in found.items():
            share = f"{figures['rate'] / whole:.0%}" if whole and "rate" in figures and not note else ""
            lines.append(f"| {side} | {brief(figures)} | {share} |")
        lines.append("")
    return "\n".join(lines)


def write(results: dict[str, Any], directory: Path) -> None:
    """Write `report.md`, `report.json` and `report.svg`."""
    (directory / "report.md").write_text(table(results))
    summary = {name: medians(rounds) for name, rounds in results["parts"].items()}
    (directory / "report.json").write_text(
        json.dumps({"machine": results["machine"], "medians": summary}, indent=1)
    )
    charts = []
    for name, figures in summary.items():
        if name.startswith(("rates", "peers")):
            charts.append((f"{name}: events a second", {side: row["rate"] for side, row in figures.items()}))
        if name.startswith("latency"):
            rows = {f"{side} {at}": row[at] for side, row in figures.items() for at in ("p50", "p99", "p999")}
            charts.append((f"{name}: ms", rows))
    (directory / "report.svg").write_text(bars(charts))
