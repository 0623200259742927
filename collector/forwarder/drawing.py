"""Drawing a lane's next batch from the spool: at once, or, a large one, in parts and packed as it comes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from collector.core.window import LARGEST
from collector.forwarder import parts
from collector.forwarder.prepare import prepare_in_place
from collector.forwarder.surroundings import Packs
from collector.forwarder.tasks import Drawn, Replaced

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from collector.forwarder.surroundings import Surroundings
    from collector.forwarder.tasks import Ready, Request, Task


MOST_SENT_BYTES = LARGEST - 2 * parts.PART_BYTES
"""A batch ends with the part by which its size was reached, and there are servers that take no more than
`LARGEST`."""


def _never() -> bool:
    return False


async def draw(
    around: Surroundings,
    request: Request,
    look: Callable[[sqlite3.Connection], Task | Drawn],
    *,
    enough: Callable[[], bool] = _never,
) -> Task:
    """Find what a lane has to do next.

    Args:
        around: the lane's.
        request: what is asked.
        look: asks it of the spool.
        enough: whether a batch that may still grow is wanted as it is.
    """
    found = await around.spool.read(look)
    while isinstance(found, Drawn):
        drawn = await _gather(around, request, found, enough)
        if not isinstance(drawn, Replaced):
            return drawn
        found = await around.spool.read(partial(prepare_in_place, request=request, replaced=drawn))
    return found


async def _gather(
    around: Surroundings, request: Request, drawn: Drawn, enough: Callable[[], bool]
) -> Ready | Replaced:
    sender = around.sender
    if not isinstance(sender, Packs):
        raise TypeError("a sender that does not pack was given a batch in parts")
    packing, sent_bytes = sender.packing(), min(request.wire_bytes, MOST_SENT_BYTES)
    while drawn.part:
        await packing.add(drawn.part)
        # What was sealed once is made whole again, whatever the link rewards now.
        if drawn.fresh and (packing.sent_bytes >= sent_bytes or enough()):
            break
        drawn = await around.spool.read(partial(parts.go_on, drawn=drawn, request=request))
    return parts.finish(drawn, await packing.finish(b"]"))
