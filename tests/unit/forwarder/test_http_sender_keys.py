"""Two keys, and two clocks: what a refusal with 401 is met with, and what it is put down to."""

from __future__ import annotations

import http_sf
import pytest
from fakes.forwarding import PRODUCT, WALL, make_batch, make_body, sending
from fakes.upstream import Behaviour, Upstream
from structlog.testing import capture_logs

from collector.config.model import NextKey, Product
from collector.core.verdict import Blocked, Delivered, Rejected, Retry

SIGNED = {"signing": "rfc9421", "key_id": "old", "secret_env": "OLD"}
ENVIRON = {"OLD": "shared-old", "NEW": "shared-new"}
NEXT = NextKey(key_id="new", secret_env="NEW")


def private(path, content):
    path.touch(mode=0o600)
    path.write_bytes(content)
    return str(path)


def key_ids(fake):
    return [
        http_sf.parse(request.header("Signature-Input").encode(), tltype="dictionary")["waystation"][1][
            "keyid"
        ]
        for request in fake.received
    ]


@pytest.fixture
def now():
    """The real time, which the upstream's verifier goes by."""
    from datetime import UTC, datetime  # noqa: PLC0415

    return lambda: datetime.now(UTC).timestamp()


async def send(sender, **batch):
    return (await sender.attempt(make_batch(**batch), make_body())).verdict


async def test_the_next_key_is_tried_on_401_and_kept_once_it_is_good(now):
    with Upstream(keys={"old": b"shared-old"}) as fake:
        async with sending(url=fake.url, wall=now, environ=ENVIRON, next=NEXT, **SIGNED) as sender:
            assert await send(sender) == Delivered()
            fake.book.keys = {"new": b"shared-new"}
            with capture_logs() as logs:
                assert await send(sender) == Delivered()
                assert await send(sender) == Delivered()
        assert key_ids(fake) == ["old", "old", "new", "new"]
        keys = {request.header("Idempotency-Key") for request in fake.received}
        assert len(keys) == 1
    assert [(line["event"], line["key"]) for line in logs] == [("key_changed", "next")]


async def test_and_the_present_one_again_where_the_change_was_taken_back(now):
    with Upstream(keys={"new": b"shared-new"}) as fake:
        async with sending(url=fake.url, wall=now, environ=ENVIRON, next=NEXT, **SIGNED) as sender:
            assert await send(sender) == Delivered()
            fake.book.keys = {"old": b"shared-old"}
            assert await send(sender) == Delivered()
        assert key_ids(fake) == ["old", "new", "new", "old"]


async def test_where_neither_is_good_the_lane_is_blocked_after_one_try_of_each(now):
    with Upstream(keys={"other": b"another"}) as fake:
        async with sending(url=fake.url, wall=now, environ=ENVIRON, next=NEXT, **SIGNED) as sender:
            verdict = await send(sender)
            assert isinstance(verdict, Blocked)
            assert verdict.status == 401
            assert key_ids(fake) == ["old", "new"]


async def test_a_next_key_that_is_not_there_yet_is_no_error(now, tmp_path):
    file = tmp_path / "next.secret"
    with Upstream(keys={"new": b"shared-new"}) as fake:
        following = NextKey(key_id="new", secret_file=str(file))
        async with sending(url=fake.url, wall=now, environ=ENVIRON, next=following, **SIGNED) as sender:
            verdict = await send(sender)
            assert isinstance(verdict, Blocked)
            assert verdict.status == 401
            assert not sender.rotated()
            private(file, b"shared-new")
            assert sender.rotated()
            assert await send(sender) == Delivered()


@pytest.mark.parametrize("signing", ["none", "rfc9421"])
async def test_without_a_next_key_a_401_is_asked_once(now, signing):
    with Upstream() as fake:
        fake.default = Behaviour(status=401)
        signed = SIGNED if signing == "rfc9421" else {"signing": "none"}
        async with sending(url=fake.url, wall=now, environ=ENVIRON, **signed) as sender:
            assert isinstance(await send(sender), Blocked)
        assert len(fake.received) == 1


async def test_a_products_next_secret_is_tried_for_that_product_alone(tmp_path):
    products = {
        PRODUCT: Product(key=PRODUCT, secret_env="OLD", next_secret_env="NEW"),
        "other": Product(key="other", secret_env="OLD", next_secret_env="NEW"),
    }
    with Upstream(products={PRODUCT: "shared-new", "other": "shared-old"}) as fake:
        async with sending(url=fake.url, kind="traintracks", environ=ENVIRON, products=products) as sender:
            for product in (PRODUCT, "other", PRODUCT, "other"):
                assert await send(sender, dialect="traintracks", product=product) == Delivered()
        assert len(fake.received) == 5


async def test_a_failure_of_the_second_try_leaves_the_first_ones_verdict(now):
    with Upstream(keys={"other": b"another"}) as fake:
        fake.script(Behaviour(), Behaviour(cut="answer"))
        async with sending(url=fake.url, wall=now, environ=ENVIRON, next=NEXT, **SIGNED) as sender:
            outcome = await sender.attempt(make_batch(), make_body())
    assert outcome.verdict.status == 401
    assert outcome.wrote_body


@pytest.mark.parametrize(
    ("offset", "told"),
    [
        (0, None),
        (-20, None),
        (3600, "this machine's clock is 3600 s behind the upstream's"),
        (-7200, "this machine's clock is 7200 s ahead of the upstream's"),
    ],
)
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_for_skew_is_named_so(offset, told, status):
    from email.utils import formatdate  # noqa: PLC0415

    with Upstream() as fake:
        date = formatdate(int(WALL) + offset, usegmt=True)
        fake.default = Behaviour(status=status, headers={"Date": date}, body=b"signature expired")
        async with sending(url=fake.url, wall=lambda: int(WALL), environ=ENVIRON, **SIGNED) as sender:
            verdict = await send(sender)
        # Once more with the time of the upstream, where that differs.
        assert len(fake.received) == (2 if told else 1)
    assert isinstance(verdict, Blocked)
    assert verdict.excerpt == "signature expired"
    assert (told in verdict.reason) if told else "clock" not in verdict.reason


@pytest.mark.parametrize("status", [400, 401, 403, 422])
async def test_no_event_is_at_fault_for_a_signature_of_another_time(status):
    """What is refused is sent once more with the upstream's time, before events are believed bad."""
    with Upstream() as fake:
        fake.script(Behaviour(status=status, headers={"Date": "Thu, 01 Jan 2026 00:00:00 GMT"}))
        async with sending(url=fake.url, environ=ENVIRON, **SIGNED) as sender:
            assert await send(sender) == Delivered()
    assert len(fake.received) == 2


async def test_what_is_refused_with_the_right_time_too_is_refused():
    with Upstream() as fake:
        refused = Behaviour(status=400, headers={"Date": "Thu, 01 Jan 2026 00:00:00 GMT"})
        fake.script(refused, refused)
        async with sending(url=fake.url, environ=ENVIRON, **SIGNED) as sender:
            assert isinstance(await send(sender), Rejected)
    assert len(fake.received) == 2


async def test_what_is_answered_with_other_than_a_refusal_is_not_put_down_to_skew():
    with Upstream() as fake:
        fake.script(Behaviour(status=503, headers={"Date": "Thu, 01 Jan 2026 00:00:00 GMT"}))
        async with sending(url=fake.url) as sender:
            verdict = await send(sender)
    assert verdict == Retry("http 503 Service Unavailable", 503, breaker=True)
