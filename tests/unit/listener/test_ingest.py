"""Posting events, from the head to the commit, in both dialects."""

from __future__ import annotations

import gzip
import hashlib
import json

import pytest
import trio
from fakes.events import SAMSARA as EVENT
from fakes.events import TRAINTRACKS as PLAY
from fakes.load import seeded
from fakes.site import HOST
from trio.testing import wait_all_tasks_blocked

from collector.core.allowance import Allowances
from collector.core.dialects import traintracks
from collector.core.http import Answer
from collector.core.limits import MAX_BODY_BYTES, MAX_PRODUCTS, QUICK_BYTES
from collector.errors import SpoolFull, SpoolUnavailable
from collector.listener import policy
from collector.listener.admission import Admission
from collector.listener.ingest import PATH, Ingest
from collector.listener.policy import Answered, Counts, Policy
from collector.listener.reader import Reader
from collector.listener.routes import Peer, Site

NOW = 1_433_004_485_870
KEY = "a32e6578-17b7-11e4-930a-bc764e1c05e4"
SECRET = b"tt-secret"

BODY = json.dumps([EVENT]).encode()
PLAYS = json.dumps([PLAY, PLAY]).encode()


class FakeTicket:
    def __init__(self) -> None:
        self.done = trio.Event()
        self.error = None

    async def committed(self):
        await self.done.wait()
        if self.error:
            raise self.error


class FakeIntake:
    def __init__(self, refuse=None) -> None:
        self.chunks = []
        self.tickets = []
        self.refuse = refuse

    def submit(self, chunk):
        if self.refuse:
            raise self.refuse
        self.chunks.append(chunk)
        self.tickets.append(FakeTicket())
        return self.tickets[-1]


def taking(*dialects):
    return lambda dialect, _product: dialect in dialects


ALL = taking("samsara", "traintracks")


class Desk:
    """An ingest endpoint behind a reader, as a listener has it."""

    def __init__(
        self, *, takes=ALL, secrets=None, auth="required", strict=False, refuse=None, users=None, **more
    ) -> None:
        self.intake = FakeIntake(refuse)
        self.ingest = Ingest(
            self.intake,
            Policy(takes, {KEY: (SECRET,)} if secrets is None else secrets, auth, strict, users or {}),
            wall_ms=lambda: NOW,
            **more,
        )
        self.site = Site({PATH: {"POST": self.ingest}}, Admission(origins=["http://allowed"]))

    def post(self, body=BODY, *, peer=None, **headers):
        """What a request comes to: an answer, or what waits for the commit."""
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
        host = b"" if "Host" in headers else HOST
        reader = Reader(self.site, peer or Peer("tcp"))
        reader.feed(b"POST /v1/events HTTP/1.1\r\n" + host + lines.encode("latin-1") + b"\r\n")
        if not reader.finished:
            reader.feed(body)
        (turn,) = reader.turns
        return turn.outcome

    async def take(self, *args, **headers):
        """The answer of a request that is committed."""
        pending = self.post(*args, **headers)
        assert not isinstance(pending, Answer), pending
        self.intake.tickets[-1].done.set()
        return await pending.answer()

    def play(self, body=PLAYS, **headers):
        return self.post(body, **{"X_Product_Key": KEY} | headers)


def signature(body, secret=SECRET):
    return hashlib.md5(body + secret).hexdigest()


async def test_samsara_events_are_stored_as_they_came():
    desk = Desk()
    answer = await desk.take(X_Samsara_publishedTimestamp="1433004485000", peer=Peer("unix", uid=7))
    assert answer == Answer(202)
    (chunk,) = desk.intake.chunks
    assert (chunk.dialect, chunk.product, chunk.remote_address) == ("samsara", "", "")
    assert (chunk.received_at, chunk.published_at, chunk.events) == (NOW, 1433004485000, 1)
    assert (chunk.encoding, chunk.body, chunk.uid) == ("", BODY, 7)


async def test_the_missing_header_is_mentioned():
    answer = await Desk().take()
    assert answer.status == 202
    assert b"X-Samsara-publishedTimestamp" in answer.body


@pytest.mark.parametrize("name", ["gzip", "GZIP", "x-gzip"])
async def test_a_compressed_body_is_stored_compressed(name):
    desk = Desk()
    packed = gzip.compress(BODY)
    assert (await desk.take(packed, Content_Encoding=name)).status == 202
    assert (desk.intake.chunks[0].encoding, desk.intake.chunks[0].body) == ("gzip", packed)


async def test_a_body_of_several_gzip_members_is_stored_compressed():
    desk = Desk()
    packed = gzip.compress(BODY[:10]) + gzip.compress(BODY[10:])
    assert (await desk.take(packed, Content_Encoding="gzip")).status == 202
    assert (desk.intake.chunks[0].encoding, desk.intake.chunks[0].body) == ("gzip", packed)


async def test_identity_is_plain():
    desk = Desk()
    assert (await desk.take(Content_Encoding="Identity")).status == 202
    assert desk.intake.chunks[0].encoding == ""


async def test_no_answer_leaves_before_the_commit(autojump_clock):
    desk = Desk()
    pending = desk.post()
    with trio.move_on_after(1000) as patience:
        await pending.answer()
    assert patience.cancelled_caught
    assert desk.ingest.counts["samsara"] == Counts()


async def test_a_refused_commit_is_503_and_never_success():
    desk = Desk()
    pending = desk.post()
    (ticket,) = desk.intake.tickets
    ticket.error = SpoolUnavailable("the disk said no")
    ticket.done.set()
    answer = await pending.answer()
    assert answer.status == 503
    assert dict(answer.headers) == {"Retry-After": "5"}
    assert b"the disk said no" in answer.body
    assert desk.ingest.counts["samsara"] == Counts(failed=1, answers={503: Answered(1, 1, len(BODY))})


def test_a_full_spool_is_503_at_once():
    desk = Desk(refuse=SpoolFull(used=9, quota=10))
    answer = desk.post()
    assert answer.status == 503
    assert dict(answer.headers) == {"Retry-After": "30"}
    assert json.loads(answer.body) == {
        "status": "ERROR",
        "message": "the spool is full: 9 of 10 bytes are in use",
    }


@pytest.mark.parametrize("body", [b"[]", b"null"])
def test_no_events_are_answered_at_once(body):
    desk = Desk()
    assert desk.post(body).status == 202
    assert desk.play(b"[]", X_Product_Auth=signature(b"[]")).status == 200
    assert desk.intake.chunks == []


async def test_traintracks_events_are_stored_with_product_and_address():
    desk = Desk()
    answer = await desk.take(
        PLAYS, X_Product_Key=KEY, X_Product_Auth=signature(PLAYS), Remote_Address="203.0.113.9"
    )
    assert answer.status == 200
    (chunk,) = desk.intake.chunks
    assert (chunk.dialect, chunk.product, chunk.remote_address) == ("traintracks", KEY, "203.0.113.9")
    assert (chunk.events, chunk.published_at, chunk.body) == (2, None, PLAYS)


@pytest.mark.parametrize(
    ("auth", "header", "status"),
    [
        ("required", None, 401),
        ("required", "wrong", 401),
        ("required", "ÿ", 401),
        ("required", "right", 200),
        ("if-present", None, 200),
        ("if-present", "wrong", 401),
        ("if-present", "", 401),
        ("if-present", "right", 200),
        ("off", None, 200),
        ("off", "wrong", 200),
    ],
)
def test_the_signature_is_asked_for_as_the_listener_says(auth, header, status):
    outcome = Desk(auth=auth).play(X_Product_Auth=signature(PLAYS) if header == "right" else header)
    assert (outcome.status if isinstance(outcome, Answer) else 200) == status


def test_a_refusal_for_want_of_a_signature_says_which():
    assert dict(Desk().play().headers) == {"WWW-Authenticate": "X-Product-Auth"}


def test_the_signature_may_be_in_capitals():
    assert not isinstance(Desk().play(X_Product_Auth=signature(PLAYS).upper()), Answer)


def test_the_signature_covers_the_bytes_as_they_came_or_the_json_within():
    packed = gzip.compress(PLAYS)
    for signed in (packed, PLAYS):
        outcome = Desk().play(packed, X_Product_Auth=signature(signed), Content_Encoding="gzip")
        assert not isinstance(outcome, Answer)
    assert Desk().play(packed, X_Product_Auth=signature(b"[]"), Content_Encoding="gzip").status == 401


def test_while_a_secret_changes_the_old_and_the_new_are_taken():
    desk = Desk(secrets={KEY: (b"new", b"old")})
    for secret in (b"new", b"old"):
        assert not isinstance(desk.play(X_Product_Auth=signature(PLAYS, secret)), Answer)
    assert desk.play(X_Product_Auth=signature(PLAYS, b"older")).status == 401


@pytest.mark.parametrize("key", ["other", "", "a b"])
def test_an_unknown_product_is_refused(key):
    assert Desk().play(X_Product_Key=key, X_Product_Auth=signature(PLAYS)).status == 403


def test_while_no_product_is_configured_any_key_is_taken_unverified():
    desk = Desk(secrets={})
    assert not isinstance(desk.play(X_Product_Key="anything.goes"), Answer)
    assert not isinstance(desk.play(X_Product_Key="anything.goes", X_Product_Auth="wrong"), Answer)
    for key in ("", "a b", "x" * 65, "../etc", "a,b"):
        assert desk.play(X_Product_Key=key).status == 403


def test_only_what_the_spool_has_taken_counts_as_a_product():
    desk = Desk(secrets={}, refuse=SpoolFull(used=1, quota=1))
    keys = desk.ingest.policy.keys
    assert desk.play(b"[{}]", X_Product_Key="odd").status == 400
    assert desk.play(b"[]", X_Product_Key="empty").status == 200
    assert desk.play(X_Product_Key="refused").status == 503
    assert len(keys) == 0
    desk.intake.refuse = None
    desk.play(X_Product_Key="taken")
    assert len(keys) == 1


def test_a_product_too_many_is_asked_to_try_again_and_counted():
    desk = Desk(secrets={})
    for number in range(MAX_PRODUCTS):
        desk.ingest.policy.keys.enter(f"made-up-{number}")
    answer = desk.play(X_Product_Key="one-more")
    assert (answer.status, dict(answer.headers)["Retry-After"]) == (503, "30")
    assert not desk.intake.chunks
    counts = desk.ingest.counts["traintracks"]
    assert (counts.failed, counts.answers[503].events) == (1, 2)
    assert not isinstance(desk.play(X_Product_Key="made-up-7"), Answer)


def test_events_of_a_dialect_that_goes_nowhere_are_refused_with_the_reason():
    assert b"No upstream takes Samsara" in Desk(takes=taking("traintracks")).post().body
    answer = Desk(takes=taking("samsara")).play(X_Product_Auth=signature(PLAYS))
    assert answer.status == 403
    assert b"No upstream takes" in answer.body


def test_a_new_policy_counts_from_the_next_request():
    desk = Desk()
    assert desk.play(X_Product_Key="second").status == 403
    desk.ingest.policy = Policy(ALL, {"second": (SECRET,)})
    assert not isinstance(desk.play(X_Product_Key="second", X_Product_Auth=signature(PLAYS)), Answer)
    assert desk.play(X_Product_Auth=signature(PLAYS)).status == 403


def test_what_is_remembered_of_keys_is_bounded():
    desk = Desk()
    desk.play(X_Product_Key="x" * 5000)
    for number in range(3000):
        desk.play(X_Product_Key=f"key-{number}")
    assert len(desk.ingest._refusals) <= 1024
    assert max(map(len, desk.ingest._refusals)) <= 64


def test_strict_makes_warnings_errors():
    odd = json.dumps([PLAY | {"userId": 5}]).encode()
    assert not isinstance(Desk().play(odd, X_Product_Auth=signature(odd)), Answer)
    assert Desk(strict=True).play(odd, X_Product_Auth=signature(odd)).status == 400


async def test_everything_is_counted():
    desk = Desk()
    await desk.take()
    await desk.take(X_Samsara_publishedTimestamp="1")
    desk.post(b"{}")
    odd = json.dumps([PLAY, PLAY | {"userId": 5}]).encode()
    warnings = traintracks.read(odd, content_type="application/json", strict=False).warnings
    assert warnings
    await desk.take(odd, X_Product_Key=KEY, X_Product_Auth=signature(odd))
    desk.play(X_Product_Auth="wrong")
    desk.post(X_Product_Key="unknown")
    size = len(BODY)
    assert desk.ingest.counts["samsara"] == Counts(
        requests=2, events=2, refused=1, answers={202: Answered(2, 2, 2 * size), 400: Answered(1, 0, 2)}
    )
    answers = {200: Answered(1, 2, len(odd)), 401: Answered(1, 0, len(PLAYS)), 403: Answered(1, 0, 0)}
    assert desk.ingest.counts["traintracks"] == Counts(
        requests=1, events=2, warnings=warnings, refused=1, answers=answers
    )


async def test_what_each_user_sends_is_counted_and_users_beyond_a_bound_together(monkeypatch):
    monkeypatch.setattr(policy, "MAX_USERS", 3)
    desk = Desk()
    for uid in (None, 7, 7, 8, 9, 10):
        await desk.take(peer=Peer("unix", uid=uid))
    counted = {uid: counts.events for uid, counts in desk.ingest.users.items()}
    assert counted == {None: 1, 7: 2, 8: 1, policy.OTHERS: 2}


def test_a_product_is_its_users_alone_and_never_that_of_tcp_clients():
    desk = Desk(users={KEY: frozenset({7})})
    signed = {"X_Product_Auth": signature(PLAYS)}
    assert not isinstance(desk.play(peer=Peer("unix", uid=7), **signed), Answer)
    for peer in (Peer("unix", uid=8), Peer("unix"), Peer("tcp")):
        assert desk.play(peer=peer, **signed).status == 403
    assert not isinstance(desk.post(peer=Peer("unix", uid=8)), Answer)


async def test_a_quota_is_each_users_own(autojump_clock):
    desk = Desk(allowances=Allowances(2.5 * len(BODY), 3600))
    for uid in (7, 8):
        for _ in range(2):
            assert not isinstance(desk.post(peer=Peer("unix", uid=uid)), Answer)
        refusal = desk.post(peer=Peer("unix", uid=uid))
        assert (refusal.status, refusal.headers) == (429, (("Retry-After", "720"),))
        assert b"quota" in refusal.body


MANY = json.dumps([EVENT | {"timestamp": "x"}] * 2000).encode()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        pytest.param(MANY, {}, 400, id="events to be looked at singly"),
        pytest.param(gzip.compress(MANY), {"Content_Encoding": "gzip"}, 400, id="the same compressed"),
        pytest.param(b" " * (QUICK_BYTES + 1) + BODY, {}, 202, id="large"),
        pytest.param(
            gzip.compress(b" " * 500_000 + bytes(seeded("spaces").choices(b" \t", k=2_000_000)) + BODY),
            {"Content_Encoding": "gzip"},
            202,
            id="large and compressed",
        ),
        pytest.param(
            gzip.compress(b" " * (QUICK_BYTES + 1)), {"Content_Encoding": "gzip"}, 413, id="a bomb, at once"
        ),
    ],
)
async def test_what_takes_long_is_looked_at_on_another_thread(body, headers, status):
    threads = []

    async def worker(function, owner):
        threads.append(1)
        return function()

    desk = Desk(worker=worker)
    outcome = desk.post(body, **headers)
    if status == 413:
        assert (outcome.status, threads) == (413, [])
        return
    assert not isinstance(outcome, Answer)
    assert not desk.intake.chunks
    async with trio.open_nursery() as nursery:

        async def answer():
            assert (await outcome.answer()).status == status

        nursery.start_soon(answer)
        await wait_all_tasks_blocked()
        assert threads == [1]
        for ticket in desk.intake.tickets:
            ticket.done.set()


async def test_small_requests_behind_one_that_takes_long_do_not_overtake_it():
    async def worker(function, owner):
        await trio.lowlevel.checkpoint()
        return function()

    desk = Desk(worker=worker)
    head = b"POST /v1/events HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    reader = Reader(desk.site, Peer("tcp"))
    odd = json.dumps([EVENT | {"\u0065xtra": n} for n in range(1000)]).replace("sourceId", "\\u0073ourceId")
    for body in (odd.encode(), BODY):
        reader.feed(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    first, second = [turn.outcome for turn in reader.turns]
    assert not desk.intake.chunks
    async with trio.open_nursery() as nursery:

        async def answer_in_order():
            assert (await first.answer()).status == 202
            assert (await second.answer()).status == 202

        nursery.start_soon(answer_in_order)
        for count in (1, 2):
            await wait_all_tasks_blocked()
            assert len(desk.intake.tickets) == count
            desk.intake.tickets[-1].done.set()
    assert [chunk.events for chunk in desk.intake.chunks] == [1000, 1]


BROKEN_GZIP = gzip.compress(PLAYS)[:-1]
WRONG = {"X_Product_Key": KEY, "X_Product_Auth": "wrong"}

ORDER = [
    # Each breaks its own rule and all that come after it.
    (
        403,
        PLAYS,
        WRONG | {"Host": "evil.example", "Content_Encoding": "br", "Content_Length": str(MAX_BODY_BYTES + 1)},
    ),
    (
        403,
        PLAYS,
        WRONG
        | {"Origin": "http://evil", "Content_Encoding": "br", "Content_Length": str(MAX_BODY_BYTES + 1)},
    ),
    (403, PLAYS, WRONG | {"X_Product_Key": "unknown", "Content_Encoding": "br"}),
    (415, PLAYS, WRONG | {"Content_Encoding": "br", "Content_Length": str(MAX_BODY_BYTES + 1)}),
    (413, PLAYS, WRONG | {"Content_Type": "text/plain", "Content_Length": str(MAX_BODY_BYTES + 1)}),
    (401, BROKEN_GZIP, WRONG | {"Content_Encoding": "gzip", "Content_Type": "text/plain"}),
    (401, b"not json", WRONG | {"Content_Type": "text/plain"}),
    (400, b"not json", {"Content_Type": "text/plain"}),
]


@pytest.mark.parametrize(("status", "body", "headers"), ORDER)
def test_refusals_come_in_the_order_of_the_dialects(status, body, headers):
    assert Desk().post(body, **headers).status == status


def test_a_bomb_is_413_before_its_signature_is_looked_at():
    assert Desk().play(gzip.compress(b" " * 2_000_000), Content_Encoding="gzip").status == 413


def test_a_body_that_is_not_what_its_encoding_says_is_400():
    answer = Desk().post(BODY, Content_Encoding="gzip")
    assert (answer.status, json.loads(answer.body)["status"]) == (400, "ERROR")


def test_an_unknown_encoding_is_named():
    answer = Desk().post(BODY, Content_Encoding="zstd")
    assert answer.status == 415
    assert b"zstd" in answer.body
