"""What an attempt says of how much its link carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.core.verdict import Delivered, Retry

if TYPE_CHECKING:
    from collector.core.verdict import Outcome
    from collector.core.window import Window
    from collector.forwarder.surroundings import Surroundings
    from collector.forwarder.tasks import Ready

SLOW_ATTEMPTS = 3
"""Attempts at a batch, the last of them cut off, after which it is too large for its link: the first may
have met a stall."""

REQUEST_TIMEOUT = 408


def measure(window: Window | None, task: Ready, outcome: Outcome) -> None:
    """Tell an upstream's window what the link made of an attempt."""
    if window is None:
        return
    match outcome.verdict:
        case Delivered():
            window.delivered(
                body_bytes=len(task.body), sent_bytes=outcome.sent_bytes, seconds=outcome.seconds
            )
        case Retry(status=None) if outcome.wrote_body:
            window.failed()
        case Retry(status=status) if status == REQUEST_TIMEOUT and outcome.cut_short:
            window.failed()
        case _:
            pass


def is_too_slow(around: Surroundings, task: Ready, outcome: Outcome, took: float) -> bool:
    """Whether a batch is larger than the link carries within the time that it is given.

    Sent whole again and again it would never arrive. So it ends, as one does that is too large for its
    upstream, and a smaller one is sealed from its first event on. It is not only our own time-out that cuts
    attempts off: what stands between us and an upstream may have a shorter one, and links may break often.

    Args:
        around: the upstream's.
        task: the batch.
        outcome: of the attempt.
        took: seconds that the attempt took.
    """
    if around.window is None or task.batch.events == 1 or task.batch.attempts + 1 < SLOW_ATTEMPTS:
        return False
    if outcome.cut_short and len(task.body) > around.window.body_bytes:
        return True
    return outcome.wrote_body and took >= around.upstream.timeouts.total
