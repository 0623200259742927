"""A dry run: what an upstream says to a batch of no events, which it may take as often as it likes.

It has all headers of a batch and is signed like one, so that what a key or a verifier has against
events it has against this too. Its positions are empty: `first=0, last=-1`.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import trio

from collector.core.batch import Options, SealedBatch
from collector.core.failure import Failure
from collector.core.rendering import RENDERER
from collector.core.verdict import Blocked, Delivered, Outcome, Rejected, Retry, Split, judge_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from collector.config.model import Upstream
    from collector.core.verdict import Verdict
    from collector.forwarder.surroundings import Sender

TRIAL_SECONDS = 20.0
"""That dry runs may take together: whoever asked for them waits for the answer, the admin listener 30 s."""

_EMPTY = b"[]"


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one.

    Attributes:
        product: the Traintracks product that it was made for, else empty.
        verdict: in lower case, as a batch of events would have got it.
        reason: what the upstream said, or why it said nothing.
        meaning: what that means for events.
        seconds: that it took.
    """

    product: str
    verdict: str
    reason: str
    meaning: str
    seconds: float

    @property
    def good(self) -> bool:
        """Whether events would be delivered."""
        return self.verdict == "delivered"


async def try_products(
    upstream: Upstream,
    sender: Sender,
    products: Sequence[str],
    *,
    device: str,
    epoch: str,
    batch_id: Callable[[], str],
) -> list[Trial]:
    """Send one signed batch of no events for each product.

    It passes by the breaker, a pause and any wait, and changes none of them.

    Args:
        upstream: of kind `samsara` or `traintracks`.
        sender: the upstream's.
        products: whose secrets sign, with `traintracks`; "" alone otherwise.
        device: the device's id.
        epoch: the spool's.
        batch_id: makes 32 hex digits, never the same twice.

    Returns:
        One for each product. What has no answer within `TRIAL_SECONDS` of the beginning has timed out.
    """
    deadline = trio.current_time() + TRIAL_SECONDS
    return [
        await _try_one(
            upstream,
            sender,
            product=product,
            deadline=deadline,
            device=device,
            epoch=epoch,
            batch_id=batch_id,
        )
        for product in products
    ]


async def _try_one(
    upstream: Upstream,
    sender: Sender,
    *,
    product: str,
    deadline: float,
    device: str,
    epoch: str,
    batch_id: Callable[[], str],
) -> Trial:
    began = trio.current_time()
    batch = SealedBatch(
        id=batch_id(),
        lane=0,
        # A lane that no events come by: whatever an upstream keeps of it does no harm to the others.
        lane_name=f"{upstream.name}/test",
        epoch=epoch,
        device=device,
        dialect=upstream.kind,
        product=product,
        remote_address="",
        first=0,
        last=-1,
        first_seq=0,
        first_index=0,
        end_seq=0,
        end_index=0,
        body_sha256=hashlib.sha256(_EMPTY).digest(),
        renderer=RENDERER,
        options=Options(),
    )
    silence = judge_failure(Failure.TIMEOUT, f"no answer within {TRIAL_SECONDS:g} s")
    outcome = Outcome(silence, wrote_body=False)
    with trio.CancelScope(deadline=deadline):
        outcome = await sender.attempt(batch, _EMPTY)
    return _told(outcome, product, seconds=trio.current_time() - began)


async def try_directory(directory: Path) -> Trial:
    """Write and remove a file where an upstream of kind `file` writes."""
    began = trio.current_time()
    reason = await trio.to_thread.run_sync(_write, directory)
    verdict: Verdict = Retry(reason) if reason else Delivered()
    outcome = Outcome(verdict, wrote_body=False)
    return _told(outcome, "", seconds=trio.current_time() - began)


def _write(directory: Path) -> str:
    place = next((path for path in (directory, *directory.parents) if path.exists()), directory)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(_EMPTY)
    except OSError as error:
        return f"cannot write to {place}: {error.strerror or type(error).__name__}"
    return ""


def _told(outcome: Outcome, product: str, *, seconds: float) -> Trial:
    verdict = outcome.verdict
    reason = "taken"
    if not isinstance(verdict, Delivered):
        # An empty batch holds no event that the upstream could repeat.
        reason = f"{verdict.reason}: {verdict.excerpt}" if verdict.excerpt else verdict.reason
    match verdict:
        case Delivered():
            meaning = "Events are delivered."
        case Retry():
            meaning = "Events wait, and are tried again for as long as it takes."
        case Blocked():
            meaning = "Events wait until someone puts this right; they are not lost."
        case Rejected() | Split():
            meaning = (
                "The upstream answers, and does not take an empty batch; what it says to events is open."
            )
        case _:
            assert_never(verdict)
    return Trial(product, type(verdict).__name__.lower(), reason, meaning, round(seconds, 3))
