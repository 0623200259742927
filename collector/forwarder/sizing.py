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
"""Attempts at a batch, the last of them cut off by the total time-out, after which it is too large for
its link: the first may have met a stall."""


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
        case _:
            pass


def is_too_slow(around: Surroundings, task: Ready, outcome: Outcome, took: float) -> bool:
    """Whether a batch is larger than the link carries within an attempt's time.

    Sent whole again and again it would never arrive. So it ends, as one does that is too large for its
    upstream, and a smaller one is sealed from its first event on.

    Args:
        around: the upstream's.
        task: the batch.
        outcome: of the attempt.
        took: seconds that the attempt took.
    """
    return (
        around.window is not None
        and outcome.wrote_body
        and took >= around.upstream.timeouts.total
        and task.batch.events > 1
        and task.batch.attempts + 1 >= SLOW_ATTEMPTS
    )
