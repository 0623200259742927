"""Coverage-guided fuzzing of a connection: `python tests/fakes/fuzz_connection.py CORPUS -max_total_time=60`.

Needs the extra `fuzz`. The first two bytes of an input say how the rest is cut into reads.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["collector.listener", "collector.core"]):
    import trio
    import trio.testing
    from fakes.raw_bytes import MAX_HELD, TABLES, converse


def one_input(data: bytes) -> None:
    """Raise where the listener broke, hung or grew."""
    size, rest = 1 + int.from_bytes(data[:2], "big") % 5000, data[2:]
    pieces = [rest[start : start + size] for start in range(0, len(rest), size)]
    seen = trio.run(converse, pieces, clock=trio.testing.MockClock(autojump_threshold=0))
    if seen.reports or not seen.ended or seen.held > MAX_HELD or 500 in seen.statuses:
        raise RuntimeError(f"{seen.reports}, ended: {seen.ended}, held: {seen.held}, {seen.statuses}")


def seed(corpus: Path) -> None:
    """Write what the listener is known to be asked."""
    corpus.mkdir(exist_ok=True)
    for number, data in enumerate(TABLES):
        (corpus / f"seed-{number}").write_bytes(b"\xff\xff" + data + TABLES[0])


if __name__ == "__main__":
    seed(Path(sys.argv[1]))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
