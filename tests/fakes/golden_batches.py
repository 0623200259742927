"""Batches as a release renders them: what every later release must render to the same bytes.

    python tests/fakes/golden_batches.py > tests/fixtures/golden-batches-1.json

writes those of renderer 1. Once that is released the file is never written again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import msgspec

from collector.core.batch import Bounds, Chunk, Options, choose
from collector.core.rendering import Context, render

RENDERER = 1
SAMSARA_BODIES = [
    '[{"timestamp":1433004485870,"sourceId":"till-1","eventName":"sold","price":12.50,"n":9007199254740993}]',
    (
        '[ {"timestamp":1,"sourceId":"s","eventName":"e","receivedAt":null,"publishedAt":false} ,\n\t'
        '{"timestamp": 2, "sourceId": "ß🛒", "eventName": "\\u00e9\\ud83d\\uded2\\/",'
        ' "id": "own", "data": {"id": 1}}]'
    ),
    (
        '[{"timestamp":3,"sourceId":"s","eventName":"e","rec\\u0065ivedAt":7,"id":null},'
        '{"timestamp":4,"sourceId":"s","eventName":"e","publishedAt":5,"publishedAt":6}]'
    ),
]
TRAINTRACKS_BODIES = [
    '[{"eventType":"$identify","clientTimestamp":"2026-10-01T00:00:00.000000+00:00","data":{}}]',
    (
        '[{"eventType":"e","clientTimestamp":"x","data":[{"a":1e999}],"serverTimestamp":null},'
        '{"eventType":"e","clientTimestamp":"x","data":{},"serverTimestamp":"2026-01-01T00:00:00.000000+00:00"},\r\n'
        '{"eventType":"e","clientTimestamp":"x","data":{},"serv\\u0065rTimestamp":false}]'
    ),
]
OPTIONS = {
    "samsara": [
        Options(),
        Options(stamp_ids=True, corrections=((3, -86_400_000),)),
        Options(form="lines", corrections=((2, 5), (3, 7))),
    ],
    "traintracks": [
        Options(),
        Options(late_before=1_800_000_000_001),
        Options(late_before=1 << 53, corrections=((2, 1_800_000_000_000),)),
        Options(form="lines", late_before=1 << 53),
    ],
}


def _chunks(dialect: str) -> list[Chunk]:
    chunks, first = [], 40
    bodies = SAMSARA_BODIES if dialect == "samsara" else TRAINTRACKS_BODIES
    for seq, text in enumerate(bodies, 1):
        body = text.encode()
        events = len(json.loads(body))
        published = None if seq == 1 else 1_800_000_000_123
        address = "" if dialect == "samsara" else "10.0.0.7"
        at = 1_800_000_000_000 + seq - 1
        chunks.append(Chunk(seq, first, events, 20_833, at, published, address, len(body), body, seq))
        first += events
    return chunks


def cases() -> list[dict[str, object]]:
    """Each batch with the rows that it is rendered from, and its bytes."""
    found = []
    for dialect, several in OPTIONS.items():
        chunks = _chunks(dialect)
        for options in several:
            for index in (0, 1):
                rows = [
                    msgspec.to_builtins(chunk) | {"body": chunk.body.decode()} for chunk in chunks[index:]
                ]
                case = {
                    "dialect": dialect,
                    "product": "a32e6578" if dialect == "traintracks" else "",
                    "options": msgspec.to_builtins(options),
                    "chunks": rows,
                }
                found.append(case | {"body": rendered(case).decode()})
    return found


def rendered(case: dict) -> bytes:
    """A case's batch as this release renders it."""
    chunks = [Chunk(**{**row, "body": row["body"].encode()}) for row in case["chunks"]]
    run = choose(chunks, index=0, bounds=Bounds(1000, 1 << 62, one_address=False))
    options = msgspec.convert(case["options"], Options)
    return render(run, Context(RENDERER, options, "7a1ddfff70093730", case["dialect"], case["product"]))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(cases(), indent=1, ensure_ascii=False) + "\n")
