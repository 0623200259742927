"""Requests whose heads are remembered are checked as all others are: same answers, same counts."""

from __future__ import annotations

import gzip
import json

import pytest
from fakes.events import SAMSARA as EVENT
from fakes.events import TRAINTRACKS as PLAY

from collector.config.secret import Secret
from collector.core.allowance import Allowances
from collector.core.http import Answer
from collector.core.limits import ContentLimits
from collector.core.signing import traintracks_auth
from collector.errors import SpoolFull
from collector.listener.admission import Admission
from collector.listener.ingest import PATH, Ingest
from collector.listener.policy import Policy
from collector.listener.reader import Reader
from collector.listener.routes import Peer, Site
from collector.listener.token import BearerToken

KEY = "a32e6578-17b7-11e4-930a-bc764e1c05e4"
GOOD = json.dumps([EVENT]).encode()
PLAYS = json.dumps([PLAY]).encode()
JSON = "Content-Type: application/json\r\n"
TRAINTRACKS = f"{JSON}X-Product-Key: {KEY}\r\n"
OURS, THEIRS = Peer("unix", uid=7, gid=7), Peer("unix", uid=8, gid=8)


class Prompted:
    def then(self, tell):
        tell(None)
        return True


class Intake:
    def __init__(self) -> None:
        self.room = 3

    def submit(self, chunk):
        if not self.room:
            raise SpoolFull(used=3, quota=3)
        self.room -= 1
        return Prompted()


class Parsing(Reader):
    parsed = 0

    def on_message_begin(self) -> None:
        self.parsed += 1
        super().on_message_begin()


class Desk:
    """An endpoint for events behind a gate; `forgetful` remembers no heads."""

    def __init__(self, *, forgetful: bool, limits=None, users=None, quota=None, **gate) -> None:
        policy = Policy(
            lambda *_: True, {KEY: (b"secret",)}, users=users or {}, limits=limits or ContentLimits()
        )
        allowances = None if quota is None else Allowances(quota, 3600.0)
        self.ingest = Ingest(Intake(), policy, wall_ms=lambda: 1, allowances=allowances)
        self.site = Site({PATH: {"POST": self.ingest}}, Admission(**gate))
        self.forgetful = forgetful
        self.parsed = 0

    def status(self, body: bytes, headers: str = JSON, *, peer: Peer = OURS, host: str = "localhost") -> int:
        if self.forgetful:
            self.site.heads = type(self.site.heads)()
        reader = Parsing(self.site, peer)
        head = f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        reader.feed(head.encode() + body)
        ((outcome, _, _),) = reader.turns
        self.parsed += reader.parsed
        told = [] if not isinstance(outcome, Answer) else [outcome]
        if not told:
            assert outcome.then(told.append)
        return told[0].status


def both(play, **settings):
    """What comes of `play`, with heads remembered and without; they must not differ."""
    knowing, forgetful = Desk(forgetful=False, **settings), Desk(forgetful=True, **settings)
    statuses = play(knowing)
    assert play(forgetful) == statuses
    assert knowing.ingest.counts == forgetful.ingest.counts
    assert knowing.ingest.users == forgetful.ingest.users
    assert knowing.parsed < forgetful.parsed, "heads are remembered at all"
    return statuses


async def test_a_full_spool_refuses():
    assert both(lambda desk: [desk.status(GOOD) for _ in range(5)]) == [202, 202, 202, 503, 503]


async def test_a_user_who_may_not_ask_is_refused_what_another_was_granted():
    def play(desk):
        return [desk.status(GOOD, peer=peer) for peer in (OURS, THEIRS, OURS)]

    assert both(play, users=None, check_host=False) == [202, 202, 202]
    knowing = Desk(forgetful=False, check_host=False)
    knowing.site.gate = Admission(check_host=False, groups=[7])
    assert play(knowing) == [202, 403, 202]


async def test_a_product_is_its_users_alone():
    def play(desk):
        auth = f"{TRAINTRACKS}X-Product-Auth: {traintracks_auth(PLAYS, 'secret')}\r\n"
        return [desk.status(PLAYS, auth, peer=peer) for peer in (OURS, THEIRS, THEIRS, OURS)]

    assert both(play, users={KEY: frozenset({7})}, check_host=False) == [200, 403, 403, 200]


async def test_a_signature_is_checked_each_time():
    def play(desk):
        auths = [traintracks_auth(PLAYS, "secret"), "0" * 32, traintracks_auth(PLAYS, "secret")]
        return [desk.status(PLAYS, f"{TRAINTRACKS}X-Product-Auth: {auth}\r\n") for auth in auths]

    assert both(play) == [200, 401, 200]


async def test_a_quota_counts_what_remembered_heads_bring():
    def play(desk):
        return [desk.status(GOOD) for _ in range(3)]

    assert both(play, quota=2 * len(GOOD)) == [202, 202, 429]


async def test_a_token_that_is_no_longer_valid_opens_nothing():
    environ = {"T": "one"}
    token = BearerToken(Secret("env", "T"), environ)

    def play(desk):
        first = f"{JSON}Authorization: Bearer one\r\n"
        statuses = [desk.status(GOOD, JSON), desk.status(GOOD, first), desk.status(GOOD, first)]
        for text in ("two", "three"):
            environ["T"] = text
            token.refresh()
        statuses.append(desk.status(GOOD, first))
        return statuses

    knowing = Desk(forgetful=False, token=token)
    assert play(knowing) == [401, 202, 202, 401]
    assert knowing.parsed == 2


@pytest.mark.parametrize(
    ("body", "headers", "limits", "status"),
    [
        pytest.param(b"[" * 100, JSON, None, 400, id="deep"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, JSON, None, 400, id="BOM"),
        pytest.param(b"[NaN]", JSON, None, 400, id="NaN"),
        pytest.param(b"", JSON, None, 400, id="empty"),
        pytest.param(json.dumps([EVENT] * 3).encode(), JSON, ContentLimits(events=2), 413, id="many events"),
        pytest.param(gzip.compress(GOOD * 10), JSON, None, 400, id="gzip that is not said to be"),
    ],
)
async def test_what_a_body_may_hold_is_looked_at_each_time(body, headers, limits, status):
    def play(desk):
        return [desk.status(GOOD, headers), desk.status(body, headers), desk.status(body, headers)]

    assert both(play, limits=limits) == [202, status, status]


async def test_a_compressed_body_is_bounded_each_time():
    coded = f"{JSON}Content-Encoding: gzip\r\n"
    bomb = gzip.compress(b"[" + b" " * 5000 + b"]")

    def play(desk):
        return [
            desk.status(body, coded) for body in (gzip.compress(GOOD), bomb, gzip.compress(GOOD)[:-3], bomb)
        ]

    assert both(play, limits=ContentLimits(decoded_bytes=4000)) == [202, 413, 400, 413]
