"""What each attempt says of its batch, as HTTP structured fields (RFC 9651).

    Idempotency-Key: "5f0c..."
    Waystation-Device: "kiosk-17"
    Waystation-Batch: epoch="9d1e...", lane="samsara/samsara", first=0, last=99
    Waystation-Replaces: "77ab..."
    Waystation-Labels: site="north", row="3"

An upstream that keeps the positions it has taken, by device, epoch and lane, takes each
event once, however often a batch is sent and however it is split on the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.core.batch import SealedBatch


def quoted(value: str) -> str:
    """Write a structured-field string (RFC 9651, section 3.3.3).

    Raises:
        ValueError: a character is not printable ASCII; the message does not repeat the value.
    """
    if not (value.isascii() and value.isprintable()):
        raise ValueError("a header's string may hold printable ASCII characters only")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def batch_headers(batch: SealedBatch) -> dict[str, str]:
    """The headers that name a batch; the same for each attempt.

    Raises:
        ValueError: the device's or the lane's name holds what a header cannot carry.
    """
    headers = {
        "Idempotency-Key": quoted(batch.id),
        "Waystation-Device": quoted(batch.device),
        "Waystation-Batch": (
            f"epoch={quoted(batch.epoch)}, lane={quoted(batch.lane_name)}, "
            f"first={batch.first}, last={batch.last}"
        ),
    }
    if batch.replaces is not None:
        headers["Waystation-Replaces"] = quoted(batch.replaces)
    return headers


def label_header(labels: Mapping[str, str]) -> dict[str, str]:
    """The header that tells an upstream the operator's labels; none where there are none.

    Raises:
        ValueError: a value holds what a header cannot carry.
    """
    if not labels:
        return {}
    return {"Waystation-Labels": ", ".join(f"{name}={quoted(value)}" for name, value in labels.items())}
