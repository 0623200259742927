"""Batches as a release renders them: what every later release must render to the same bytes.

With them the headers that a batch has at each attempt, whichever release makes it. The others are named here.

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

from collector.config.model import Product, Upstream
from collector.core.batch import Chunk, Options, Run, SealedBatch, lane_name
from collector.core.choosing import Bounds, choose
from collector.core.rendering import Context, render
from collector.forwarder.request import RequestMaker

RENDERER = 1
EPOCH = "7a1ddfff70093730"

STAMPED = frozenset({"X-Samsara-publishedTimestamp", "Signature-Input", "Signature"})
"""Made anew for each attempt: the time it is made at, and the signature, whose time that is."""

COMPRESSED = frozenset({"Content-Length", "Content-Digest"})
"""Of the bytes on the wire: another zlib makes others of the same body. `Signature` covers them."""

OF_THE_RELEASE = frozenset({"User-Agent"})
"""Says which one makes the attempt."""
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
                case |= {"body": rendered(case).decode()}
                if options.form == "array":
                    case |= {"headers": stable(headers(case))}
                found.append(case)
    return found


def _run(case: dict) -> Run:
    chunks = [Chunk(**{**row, "body": row["body"].encode()}) for row in case["chunks"]]
    return choose(chunks, index=0, bounds=Bounds(1000, 1 << 62, one_address=False))


def rendered(case: dict) -> bytes:
    """A case's batch as this release renders it."""
    options = msgspec.convert(case["options"], Options)
    return render(_run(case), Context(RENDERER, options, EPOCH, case["dialect"], case["product"]))


def headers(case: dict, *, now: float = 1_800_000_000.5) -> dict[str, str]:
    """The headers of an attempt at a case's batch that is made now, seconds since 1970."""
    run, dialect, product = _run(case), case["dialect"], case["product"]
    samsara = dialect == "samsara"
    signing = {"signing": "rfc9421", "key_id": "kiosk-17", "secret_env": "SECRET"} if samsara else {}
    url = "https://ingest.example.com/v1/events"
    maker = RequestMaker(
        Upstream(name="site", kind=dialect, url=url, **signing),
        url=url,
        host="ingest.example.com",
        products={product: Product(key=product, secret_env="SECRET")},
        environ={"SECRET": "a secret of thirty-two bytes or more"},
        labels={"site": "north"},
    )
    replaces = "e1" * 16 if case["options"]["stamp_ids"] else None
    batch = SealedBatch(
        id=f"{run.first:032x}",
        lane=1,
        lane_name=lane_name("site", dialect, product),
        epoch=EPOCH,
        device="kiosk-17",
        dialect=dialect,
        product=product,
        remote_address=run.remote_address,
        first=run.first,
        last=run.last,
        first_seq=1,
        first_index=0,
        end_seq=9,
        end_index=0,
        body_sha256=b"",
        renderer=RENDERER,
        options=msgspec.convert(case["options"], Options),
        replaces=replaces,
    )
    made, _ = maker.make(batch, rendered(case), now=now, created=now)
    return made


def stable(made: dict[str, str]) -> dict[str, str]:
    """Those of an attempt's headers that are the same at each."""
    return {name: value for name, value in made.items() if name not in STAMPED | COMPRESSED | OF_THE_RELEASE}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(cases(), indent=1, ensure_ascii=False) + "\n")
