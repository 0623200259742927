from __future__ import annotations

import pytest
import trio
from fakes.lanes import samsara, site
from fakes.sender import ScriptedSender

from collector.forwarder import parts, swelling
from collector.forwarder.swelling import SPARE, Swelling


async def test_a_batch_that_is_bounded_in_bytes_is_chosen_once(tmp_path, autojump_clock, monkeypatch):
    monkeypatch.setattr(swelling, "WORTH_BYTES", 1)
    chosen = []
    choose = parts.choose

    def counted(*arguments, **options):
        chosen.append(arguments)
        return choose(*arguments, **options)

    monkeypatch.setattr(parts, "choose", counted)
    sender = ScriptedSender()
    # Each event is given an id, which makes it longer by half.
    upstream = samsara(max_batch_bytes=20_000, stamp_ids=True)
    async with site(tmp_path, {upstream: sender}, run=False) as here:
        await here.accept(*[10] * 300)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.forwarder.run)
            await here.quiet()
            nursery.cancel_scope.cancel()
        assert await here.ledger() == {"accepted": 3000, "delivered": 3000}
    sizes = [len(attempt.body) for attempt in sender.attempts]
    assert max(sizes) <= 20_000
    assert min(sizes[:-1]) > 0.9 * 20_000
    # The first is chosen twice; and who looks for more at the end finds none.
    assert len(chosen) <= len(sizes) + 3


@pytest.mark.parametrize(("stored", "rendered"), [(1000, 1000), (1000, 1500), (1000, 900)])
def test_the_next_batch_is_chosen_by_what_the_last_came_to(stored, rendered, monkeypatch):
    class Run:
        class Piece:
            class chunk:  # noqa: N801
                body = b"x" * stored

            cut = None

        pieces = (Piece,)

    known = Swelling()
    assert known.fitting(7, 1 << 20) == 1 << 20
    known.learn(7, Run, rendered)
    assert known.fitting(7, 1 << 20) == int(SPARE * (1 << 20) / max(1.0, rendered / stored))
    assert known.fitting(8, 1 << 20) == 1 << 20
    assert known.fitting(7, swelling.WORTH_BYTES - 1) == swelling.WORTH_BYTES - 1
