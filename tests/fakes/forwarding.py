"""Batches and senders as the forwarder's tests need them."""

from __future__ import annotations

import hashlib
import json
from contextlib import asynccontextmanager

import trio

from collector.config.model import Product, Timeouts, Upstream
from collector.core.batch import Options, SealedBatch
from collector.forwarder.sender import HttpSender

PRODUCT = "a32e6578-17b7-11e4-930a-bc764e1c05e4"
WALL = 1_792_000_000.25


async def inline(work):
    """Run blocking work where it stands, as a runner does on a thread."""
    await trio.lowlevel.checkpoint()
    return work()


@asynccontextmanager
async def sending(*, wall=lambda: WALL, environ=None, products=None, **options):
    """A sender for an upstream with those options; kind samsara, unsigned and patient by default."""
    options = {
        "name": "samsara",
        "kind": "samsara",
        "signing": "none",
        "timeouts": Timeouts(total=20),
        **options,
    }
    if products is None:
        products = {PRODUCT: Product(key=PRODUCT, secret_env="PRODUCT_SECRET")}
    environ = {"PRODUCT_SECRET": "s3cret"} if environ is None else environ
    sender = HttpSender(
        Upstream(**options),
        products=products,
        environ=environ,
        wall=wall,
        run=inline,
    )
    try:
        yield sender
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
            await sender.aclose()


def make_body(events: int = 2, first: int = 0) -> bytes:
    """A rendered body of Samsara events, told apart by their position."""
    return json.dumps(
        [
            {"timestamp": 1, "sourceId": "till", "eventName": "sold", "n": n}
            for n in range(first, first + events)
        ]
    ).encode()


def make_batch(
    *,
    first: int = 0,
    events: int = 2,
    dialect: str = "samsara",
    product: str = "",
    remote_address: str = "",
    lane_name: str = "",
    batch_id: str = "5f" * 16,
    replaces: str | None = None,
) -> SealedBatch:
    """A sealed batch; of the lane that its dialect and product make."""
    body = make_body(events, first)
    return SealedBatch(
        id=batch_id,
        lane=1,
        lane_name=lane_name or "/".join(filter(None, (dialect, dialect, product))),
        epoch="9d1e",
        device="kiosk-17",
        dialect=dialect,
        product=product,
        remote_address=remote_address,
        first=first,
        last=first + events - 1,
        first_seq=1,
        first_index=0,
        end_seq=2,
        end_index=0,
        body_sha256=hashlib.sha256(body).digest(),
        renderer=1,
        options=Options(),
        replaces=replaces,
    )
