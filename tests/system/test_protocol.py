"""What is spoken on the wire, on a port and on a UNIX socket, with the answers word for word."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import shutil
import subprocess
from dataclasses import dataclass, field

import pytest
from fakes.daemon import PATIENCE, Client, connect, until
from fakes.documents import TRAINTRACKS_BATCH, TRAINTRACKS_PRODUCT
from fakes.site import replies

pytestmark = pytest.mark.system

SECRET = "s3cret"
CONFIG = f"""
[[listener]]
bind = "127.0.0.1:0"
allowed_origins = ["http://shop.example"]

[[listener]]
bind = "unix:$socket"

[[product]]
key = "{TRAINTRACKS_PRODUCT}"
secret_file = "product.secret"

[[upstream]]
name = "file"
kind = "file"
"""

PUBLISHED = {"X-Samsara-publishedTimestamp": "1433004485999"}
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def daemon(make_shared_daemon):
    daemon = make_shared_daemon(CONFIG)
    daemon.secret("product.secret", SECRET.encode())
    return daemon.start()


@pytest.fixture(scope="module")
def places(daemon):
    return {"port": daemon.ports()[0], "socket": daemon.socket}


@pytest.fixture(params=["port", "socket"])
def place(request, places):
    return places[request.param]


def samsara(**members):
    event = {"timestamp": 1433004485870, "sourceId": "till", "eventName": "sold", **members}
    return {name: value for name, value in event.items() if value is not ...}


def batch(*events):
    return json.dumps(events or [samsara()], ensure_ascii=False).encode()


def signed(body, secret=SECRET, product=TRAINTRACKS_PRODUCT):
    auth = hashlib.md5(body + secret.encode()).hexdigest()
    return {"X-Product-Key": product, "X-Product-Auth": auth}


def traintracks(**members):
    event = {**json.loads(TRAINTRACKS_BATCH)[0], **members}
    return {name: value for name, value in event.items() if value is not ...}


def error(message):
    return json.dumps({"status": "ERROR", "message": message}, separators=(",", ":"))


def stored(daemon):
    """How many events the daemon has accepted."""
    return sum(row["events"] for row in daemon.status()["received"])


@dataclass(frozen=True)
class Case:
    """A request and its answer.

    Attributes:
        events: how many are stored.
        answer: the body as it is, or what its `message` begins with where it ends in "...".
    """

    status: int
    answer: str
    body: bytes = batch()
    headers: dict[str, str] = field(default_factory=dict)
    events: int = 0
    method: str = "POST"
    path: str = "/v1/events"

    def check(self, daemon, place):
        before = stored(daemon)
        with Client(place) as client:
            headers = {"Content-Type": "application/json", **self.headers}
            reply = client.ask(self.method, self.path, self.body, headers)
        text = reply.body.decode()
        assert reply.status == self.status, text
        if self.answer.endswith("..."):
            told = json.loads(text)
            assert told["status"] == "ERROR"
            assert told["message"].startswith(self.answer.removesuffix("..."))
        else:
            assert text == self.answer
        assert reply.headers["content-length"] == str(len(reply.body))
        assert reply.headers.get("content-type") == ("application/json" if text else None)
        assert stored(daemon) == before + self.events


BOMB = gzip.compress(bytes(33 << 20), 1)
NOT_JSON = error("Invalid format, content-type must be application/json")
UNDATED = (
    '{"status":"OK","warning":"For completeness, please provide the'
    " 'X-Samsara-publishedTimestamp' header.\"}"
)

SAMSARA = {
    "dated": Case(202, "", headers=PUBLISHED, body=batch(samsara(), samsara()), events=2),
    "not-dated": Case(202, UNDATED, events=1),
    "date-not-an-integer": Case(
        400,
        error("X-Samsara-publishedTimestamp must be a valid timestamp."),
        headers={"X-Samsara-publishedTimestamp": "yesterday"},
    ),
    "text": Case(400, NOT_JSON, headers={"Content-Type": "text/plain"}),
    "form": Case(400, NOT_JSON, headers={"Content-Type": "application/x-www-form-urlencoded"}),
    "json-of-a-kind": Case(
        202, "", headers=PUBLISHED | {"Content-Type": "Application/vnd.till+JSON; charset=UTF-8"}, events=1
    ),
    "invalid-events": Case(
        400,
        json.dumps(
            ["OK", "{:eventName missing-required-key}", '{:timestamp (not (integer? "5"))}'],
            separators=(",", ":"),
        ),
        headers=PUBLISHED,
        body=batch(samsara(), samsara(eventName=...), samsara(timestamp="5")),
    ),
    "float-and-boolean": Case(
        400,
        json.dumps(
            [
                "{:timestamp (not (integer? 5.0))}",
                "{:timestamp (not (integer? true)), :sourceId (not (string? 7))}",
            ],
            separators=(",", ":"),
        ),
        body=batch(samsara(timestamp=5.0), samsara(timestamp=True, sourceId=7)),
    ),
    "empty": Case(202, "", headers=PUBLISHED, body=b"[]"),
    "null": Case(202, "", headers=PUBLISHED, body=b"null"),
    "not-json": Case(400, "Invalid JSON: ...", body=b'[{"timestamp":'),
    "not-an-array": Case(400, error("Expected an array of events"), body=b'{"timestamp":5}'),
    "not-utf8": Case(400, "Invalid JSON: not UTF-8...", body=b'["\xff"]'),
    "broken-gzip": Case(
        400,
        "The body is not valid gzip...",
        body=gzip.compress(batch())[:-9],
        headers={"Content-Encoding": "gzip"},
    ),
    "gzip": Case(
        202, "", headers=PUBLISHED | {"Content-Encoding": "GZip"}, body=gzip.compress(batch()), events=1
    ),
    "gzip-in-members": Case(
        202,
        "",
        headers=PUBLISHED | {"Content-Encoding": "gzip"},
        body=gzip.compress(batch()[:20]) + gzip.compress(batch()[20:]),
        events=1,
    ),
    "identity": Case(202, "", headers=PUBLISHED | {"Content-Encoding": "identity"}, events=1),
    "unknown-encoding": Case(
        415, "Content-Encoding 'br' is not supported...", headers={"Content-Encoding": "br"}
    ),
    "unknown-path": Case(404, error("Not found"), path="/v1/event"),
    "other-method": Case(405, "Method not allowed...", method="DELETE"),
    "too-large-once-decompressed": Case(
        413,
        "The body is too large once decompressed...",
        body=BOMB,
        headers={"Content-Encoding": "gzip"},
    ),
}

TAKEN = '{"status":"OK"}'
BATCH = TRAINTRACKS_BATCH.encode()
CLEAN = batch(traintracks())
ODD = batch(traintracks(userId="test"), traintracks(userId="test", eventId=5))
WRONG = batch(traintracks(), traintracks(eventType=...), traintracks(data="text"))

TRAINTRACKS = {
    "signed": Case(200, TAKEN, body=BATCH, headers=signed(BATCH), events=2),
    "signed-in-capitals": Case(
        200,
        TAKEN,
        body=CLEAN,
        headers={name: value.upper() for name, value in signed(CLEAN).items() if name != "X-Product-Key"}
        | {"X-Product-Key": TRAINTRACKS_PRODUCT, "Content-Type": "application/json; charset=UTF-8"},
        events=1,
    ),
    "empty": Case(200, TAKEN, body=b"[]", headers=signed(b"[]")),
    "wrong-auth": Case(
        401, error("X-Product-Auth is not md5hex(body + secret)."), body=BATCH, headers=signed(BATCH, "other")
    ),
    "unknown-product": Case(
        403,
        error("This X-Product-Key is not among the configured products."),
        body=BATCH,
        headers=signed(BATCH, product="other"),
    ),
    "warnings": Case(
        200,
        json.dumps(
            {
                "status": "OK",
                "warnings": {
                    "count": 3,
                    "named": [
                        {"warning": "userId is not a UUID", "events": 2, "first": 0},
                        {"warning": "eventId is not a field of this format", "events": 1, "first": 1},
                    ],
                },
            },
            separators=(",", ":"),
        ),
        body=ODD,
        headers=signed(ODD),
        events=2,
    ),
    "errors": Case(
        400,
        '["OK","eventType is missing","data is not an object or an array of objects"]',
        body=WRONG,
        headers=signed(WRONG),
    ),
    "text": Case(400, NOT_JSON, body=CLEAN, headers=signed(CLEAN) | {"Content-Type": "text/plain"}),
    "gzip-signed-as-sent": Case(
        200,
        TAKEN,
        body=gzip.compress(CLEAN, mtime=0),
        headers=signed(gzip.compress(CLEAN, mtime=0)) | {"Content-Encoding": "gzip"},
        events=1,
    ),
}


@pytest.mark.parametrize("case", SAMSARA.values(), ids=SAMSARA)
def test_samsara_answers_word_for_word(daemon, place, case):
    case.check(daemon, place)


@pytest.mark.parametrize("case", TRAINTRACKS.values(), ids=TRAINTRACKS)
def test_traintracks_answers_word_for_word(daemon, place, case):
    case.check(daemon, place)


def test_missing_signature_is_refused_on_the_port_and_taken_on_the_socket(daemon, places):
    unsigned = {"X-Product-Key": TRAINTRACKS_PRODUCT}
    missing = error("X-Product-Auth is missing.")
    Case(401, missing, body=CLEAN, headers=unsigned).check(daemon, places["port"])
    Case(200, TAKEN, body=CLEAN, headers=unsigned, events=1).check(daemon, places["socket"])


def test_other_hosts_are_refused_on_the_port_alone(daemon, places):
    foreign = PUBLISHED | {"Host": "rebound.example"}
    Case(403, "This Host is not served here...", headers=foreign).check(daemon, places["port"])
    Case(202, "", headers=foreign, events=1).check(daemon, places["socket"])
    Case(202, "", headers=PUBLISHED | {"Host": "LOCALHOST:1"}, events=1).check(daemon, places["port"])


def test_pages_of_allowed_origins_may_post_and_others_may_not(daemon, places):
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-product-key"}
    with Client(places["port"]) as client:
        reply = client.ask("OPTIONS", "/v1/events", headers=asks | {"Origin": "http://shop.example"})
        assert (reply.status, reply.body) == (204, b"")
        assert reply.headers["access-control-allow-origin"] == "http://shop.example"
        assert reply.headers["access-control-allow-headers"] == "x-product-key"
        reply = client.ask("OPTIONS", "/v1/events", headers=asks | {"Origin": "http://evil.example"})
        assert reply.status == 403
        assert not [name for name in reply.headers if name.startswith("access-control")]
    Case(202, "", headers=PUBLISHED | {"Origin": "http://shop.example"}, events=1).check(
        daemon, places["port"]
    )
    foreign = Case(403, "Pages of this origin may not use this...", headers=PUBLISHED | {"Origin": "null"})
    foreign.check(daemon, places["port"])


def test_checks_come_in_their_order(places):
    request = {"path": "/v1/other", "method": "DELETE", "body": BOMB}
    headers = {
        "Host": "rebound.example",
        "Content-Encoding": "br",
        "X-Product-Key": TRAINTRACKS_PRODUCT,
        "X-Product-Auth": "wrong",
        "Content-Type": "text/plain",
    }
    small = gzip.compress(CLEAN)
    mended = [
        (404, {}, {}),
        (405, {"path": "/v1/events"}, {}),
        (403, {"method": "POST"}, {}),
        (415, {}, {"Host": "localhost"}),
        (413, {}, {"Content-Encoding": "gzip"}),
        (401, {"body": small}, {}),
        (400, {}, signed(small)),
        (200, {}, {"Content-Type": "application/json"}),
    ]
    for status, request_now, headers_now in mended:
        request |= request_now
        headers |= headers_now
        with Client(places["port"]) as client:
            reply = client.ask(**request, headers=headers)
        assert reply.status == status, reply.body


def test_api_status_is_told_and_set_in_its_words(place):
    online, offline = '{"status":"online"}', '{"status":"offline"}'
    with Client(place) as client:

        def ask(method, body=None, **headers):
            reply = client.ask(method, "/v1/api-status", body and body.encode(), headers)
            return reply.status, reply.body.decode()

        assert ask("GET") == (200, online)
        assert ask("PUT", offline) == (200, "")
        assert ask("GET") == (503, offline)
        assert ask("PUT", '{"status":"away"}')[0] == 400
        assert ask("PUT", "offline")[0] == 400
        assert ask("PUT", online, Origin="http://shop.example")[0] == 403
        assert ask("GET") == (503, offline)
        assert ask("PUT", '{ "status" : "online" }') == (200, "")
        assert ask("GET") == (200, online)


def test_options_change_the_answers_that_they_are_for(make_daemon):
    daemon = make_daemon("""
[[listener]]
bind = "unix:$socket"
strict = true

[admin]
exclusive = true

[[upstream]]
name = "file"
kind = "file"
dialects = ["traintracks"]
""").start()
    product = {"X-Product-Key": "any"}
    Case(403, error("No upstream takes Samsara events.")).check(daemon, daemon.socket)
    Case(200, TAKEN, body=CLEAN, headers=product, events=1).check(daemon, daemon.socket)
    verdicts = '["userId is not a UUID","userId is not a UUID; eventId is not a field of this format"]'
    Case(400, verdicts, body=ODD, headers=product).check(daemon, daemon.socket)
    with Client(daemon.socket) as app, Client(daemon.admin) as operator:
        offline = b'{"status":"offline"}'
        assert app.ask("PUT", "/v1/api-status", offline).status == 404
        assert app.ask("GET", "/v1/api-status").status == 200
        assert operator.ask("PUT", "/v1/api-status", offline).status == 200
        assert app.ask("GET", "/v1/api-status").status == 503


@pytest.fixture
def marked(daemon):
    """A body with one event unlike any other; when the test is over it must have gone all the way, once."""
    mark = f"🧨 \\u003c {next(NUMBERS)}"
    text = f'{{"timestamp":1433004485870,"sourceId":"till","eventName":"{mark}","n":12345678901234567890.10}}'
    yield f"[{text}]".encode()
    files = daemon.state_dir / "events"

    def lines():
        written = [line for file in files.glob("*.ndjson") for line in file.read_text().splitlines()]
        return [line for line in written if text[:-1] in line]

    assert len(until(lines, "the event is in a file")) == 1


HEAD = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
DATED = b"X-Samsara-publishedTimestamp: 1433004485999\r\n"


def talk(place, *pieces):
    """Send the pieces one by one and read until the other side closes."""
    with connect(place) as sock:
        for piece in pieces:
            sock.sendall(piece)
        received = b""
        while data := sock.recv(65536):
            received += data
    return replies(received)


def test_chunked_body_is_taken(place, marked):
    half = len(marked) // 2
    chunks = b"".join(b"%x;note=1\r\n%b\r\n" % (len(part), part) for part in (marked[:half], marked[half:]))
    (reply,) = talk(
        place,
        HEAD + DATED + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
        b"0\r\nTrailer: 1\r\n\r\n",
    )
    assert (reply.status, reply.body) == (202, b"")


def test_request_that_comes_byte_by_byte_is_taken(place, marked):
    whole = HEAD + DATED + b"connection: Close\r\ncontent-length: %d\r\n\r\n%b" % (len(marked), marked)
    (reply,) = talk(place, *(whole[at : at + 1] for at in range(len(whole))))
    assert (reply.status, reply.body) == (202, b"")


def test_pipelined_requests_are_answered_in_order(daemon, place, marked):
    before = stored(daemon)
    dated = HEAD + DATED + b"Content-Length: %d\r\n\r\n%b" % (len(marked), marked)
    undated = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(batch()), batch())
    wrong = HEAD + b"Content-Length: 4\r\n\r\n[{}]"
    last = b"GET /v1/api-status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answers = talk(place, dated + undated + wrong + undated + last)
    assert [answer.status for answer in answers] == [202, 202, 400, 202, 200]
    assert [answer.body for answer in answers][:2] == [b"", UNDATED.encode()]
    assert stored(daemon) == before + 3


def test_connection_is_kept_over_successes_and_refusals(place):
    with Client(place) as client:
        sockets = set()
        for path, body, status in (
            ("/v1/events", batch(), 202),
            ("/v1/events", b"[5]", 400),
            ("/x", b"", 404),
        ) * 2:
            assert client.ask("POST", path, body, {"Content-Type": "application/json"}).status == status
            sockets.add(client.sock)
        assert len(sockets) == 1


def test_http_1_0_is_spoken_without_host_and_kept_alive_on_request(place, marked):
    head = b"POST /v1/events HTTP/1.0\r\nContent-Type: application/json\r\n" + DATED
    (reply,) = talk(place, head + b"Content-Length: %d\r\n\r\n%b" % (len(marked), marked))
    assert (reply.status, reply.body) == (202, b"")
    empty = b"Content-Length: 2\r\n\r\n[]"
    kept, last = talk(place, head + b"Connection: keep-alive\r\n" + empty, head + empty)
    assert (kept.status, kept.headers["connection"]) == (202, "keep-alive")
    assert last.status == 202


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("name", ["port", "socket"])
def test_curls_large_body_is_taken_after_100_continue(daemon, places, name, tmp_path, marked):
    body = tmp_path / "body.json"
    body.write_bytes(b"[" + marked[1:-1] + b"," + batch(samsara(note="x" * 1_200_000))[1:])
    place = places[name]
    where = ["--unix-socket", str(place), "http://localhost/v1/events"]
    if name == "port":
        where = [f"http://127.0.0.1:{place}/v1/events"]
    before = stored(daemon)
    done = subprocess.run(
        ["curl", "-isS", "-H", "Content-Type: application/json", "--data-binary", f"@{body}", *where],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    going_on, _, answer = done.stdout.partition("\n\n")
    assert going_on == "HTTP/1.1 100 Continue"
    assert answer.startswith("HTTP/1.1 202 Accepted")
    assert answer.endswith(UNDATED)
    assert stored(daemon) == before + 2


@pytest.mark.parametrize(
    ("request_line", "more", "status"),
    [
        (b"POST /v1/events HTTP/2.0", b"", 505),
        (b"POST /v1/events HTTP/1.1", b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"POST /v1/events HTTP/1.1", b"Content-Length: 2\r\nContent-Length: 2\r\n", 400),
        (b"POST /v1/events HTTP/1.1", b"Content-Length: 999999999\r\n", 413),
        (b"POST /v1/events HTTP/1.1", b"Transfer-Encoding: gzip, chunked\r\n", 501),
        (b"POST /v1/events HTTP/1.1", b"X-Large: " + b"x" * 40_000 + b"\r\n", 431),
        (b"not HTTP at all", b"", 400),
    ],
)
def test_what_cannot_be_read_is_refused_and_the_connection_closed(place, request_line, more, status):
    (reply,) = talk(place, request_line + b"\r\nHost: localhost\r\n" + more + b"\r\n[]")
    assert reply.status == status
    assert json.loads(reply.body)["status"] == "ERROR"
    assert reply.headers["connection"] == "close"
