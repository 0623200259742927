"""The table of verdicts, row by row: what a daemon says of each answer in its status, metrics and log.

One daemon forwards the same requests to an upstream for each row, which always answers as the row has it.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus

import pytest
from fakes.capture import FORM, LOST, Capture
from fakes.certificates import Authority
from fakes.daemon import LISTENERS, Client, unbalanced, until
from fakes.upstream import Behaviour
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.system

EVENTS = 120
POISON, LARGE, LARGEST = 3, 5, 4000
PRODUCT = "a32e6578-17b7-11e4-930a-bc764e1c05e4"
HOLD = Behaviour(hold=True)
"""For a lane that is to be seen in what an earlier answer made of it."""


@dataclass(frozen=True)
class Row:
    """An answer, and what is said of it.

    Attributes:
        script: the first answers; `then` to all that follow.
        options: of the upstream, in TOML.
        capture: what the upstream cannot take, whatever it is told to answer.
        reason: how the lane's reason begins.
        line: the event of the line in the log.
        label: the reason as metrics have it; without it `reason`.
        dead: the event that ends as a dead letter, with what is said of it.
        learned: whether a size was learned.
    """

    state: str
    then: Behaviour
    script: tuple[Behaviour, ...] = ()
    reason: str = ""
    line: str = ""
    label: str | None = None
    options: str = ""
    kind: str = "samsara"
    capture: dict = field(default_factory=dict)
    verdict: str = ""
    dead: tuple[int, str, str] | None = None
    learned: bool = False

    @property
    def dialect_options(self) -> str:
        return 'signing = "none"' if self.kind == "samsara" else ""


def said(status: int) -> str:
    try:
        return f"http {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"http {status}"


def delivered(status, **more):
    then = Behaviour(status=status) if more else Behaviour()
    return Row("healthy", then, line="lane_healthy", verdict="delivered", **more)


def retried(status, **more):
    then = Behaviour(status=status, body=b"planted")
    return Row("retrying", then, reason=said(status), line="lane_retrying", verdict="retry", **more)


def blocked(status, tail="", **more):
    then = Behaviour(status=status, headers={"Content-Type": "text/plain"}, body=b"planted")
    reason = said(status) + (tail or ": plain text of 7 bytes")
    label = said(status) + tail
    return Row("blocked", then, reason=reason, label=label, line="lane_blocked", verdict="blocked", **more)


def narrowed(status, reason, verdict, times=1, **more):
    answers = (Behaviour(status=status, body=b"planted"),) * times
    options = more.pop("options", "") + '\ntimeouts = { read = "10m", total = "10m" }'
    return Row("narrowing", HOLD, answers, reason, "lane_narrowing", verdict=verdict, options=options, **more)


def no_answer(state, then, reason, label, **more):
    verdict = "retry" if state == "retrying" else "blocked"
    return Row(state, then, reason=reason, label=label, line=f"lane_{state}", verdict=verdict, **more)


HALVES = "; halves are tried, to find what is refused"
SMALLER = "; smaller batches are tried"
REDIRECT = ", and redirects are not followed"
PORTAL = " with an HTML page: a captive portal, or the wrong url"
PAGE = {"Content-Type": "text/html; charset=utf-8"}

ROWS = {
    "delivered": Row("healthy", Behaviour(), line="lane_healthy", verdict="delivered"),
    "delivered-200": Row("healthy", Behaviour(status=200), line="lane_healthy", verdict="delivered"),
    "tt-200": Row("healthy", Behaviour(), kind="traintracks", line="lane_healthy", verdict="delivered"),
    "tt-202": blocked(202, kind="traintracks"),
    **{f"retry-{n}": retried(n) for n in (408, 409, 425, 429, 500, 502, 503, 504, 507, 599)},
    "refused": no_answer("retrying", Behaviour(), "cannot connect", "cannot connect"),
    "silent": no_answer(
        "retrying", HOLD, "timed out", "timed out", options='timeouts = { read = "1s", total = "2s" }'
    ),
    "cut": no_answer("retrying", LOST, "the connection broke", "the connection broke"),
    **{f"block-{n}": blocked(n) for n in (401, 403, 404, 405, 410, 501, 505, 511, 201, 406, 418, 451)},
    "block-204": Row(
        "blocked", Behaviour(status=204), reason=said(204), line="lane_blocked", verdict="blocked"
    ),
    **{f"redirect-{n}": blocked(n, REDIRECT) for n in (301, 302, 303, 307, 308)},
    "portal": Row(
        "blocked",
        Behaviour(status=200, headers=PAGE, body=FORM),
        reason=said(200) + PORTAL,
        label=said(200) + PORTAL.partition(":")[0],
        line="lane_blocked",
        verdict="blocked",
    ),
    "tls": no_answer("blocked", Behaviour(), "no trust in the connection", "no trust in the connection"),
    "too-large": narrowed(413, said(413) + SMALLER, "split", learned=True),
    "refused-400": narrowed(400, said(400) + HALVES, "rejected"),
    "refused-422": narrowed(422, said(422) + HALVES, "rejected"),
    "ten-500": narrowed(500, f"{said(500)}, 10 times for this batch{HALVES}", "retry", times=10),
    "poison": Row(
        "healthy",
        Behaviour(),
        capture={"is_poison": staticmethod(lambda event: event["n"] == POISON)},
        line="dead_letter",
        verdict="rejected",
        dead=(POISON, "refused", "bad"),
    ),
    "one-too-large": Row(
        "healthy",
        Behaviour(),
        capture={"largest": LARGEST},
        line="dead_letter",
        verdict="rejected",
        dead=(LARGE, "too_large", said(413)),
        learned=True,
    ),
    "one-500": Row(
        "blocked",
        Behaviour(status=500),
        reason=f"{said(500)}, 10 times and more for this one event: position 0",
        label=f"{said(500)}, 10 times and more for this one event",
        line="lane_blocked",
        verdict="retry",
    ),
    "bad-deploy": Row(
        "blocked",
        Behaviour(status=400),
        reason=f"{said(400)}: 100 of the last 100 events were refused",
        label=said(400),
        line="lane_blocked",
        verdict="rejected",
        options="max_events = 1",
    ),
    "success-204": delivered(204, options="success = [204]"),
    "no-success-202": blocked(202, options="success = [204]"),
    "retry-404": retried(404, options="retry = [404]"),
    "retry-413": retried(413, options="retry = [413]"),
    "block-503": blocked(503, options="block = [503]"),
    "block-400": blocked(400, options="block = [400]"),
    "block-413": blocked(413, options="block = [413]"),
    "reject-409": narrowed(409, said(409) + HALVES, "rejected", options="reject = [409]"),
}


@dataclass
class Seen:
    """What a daemon said, all at one time."""

    status: dict
    samples: set
    values: dict
    lines: list

    @classmethod
    def of(cls, daemon):
        told = [json.loads(line) for line in daemon.log().splitlines() if line.startswith("{")]
        samples, values = set(), {}
        for family in text_string_to_metric_families(daemon.ask("/metrics").body.decode()):
            for sample in family.samples:
                key = (sample.name, *sorted(sample.labels.items()))
                samples.add(key) if sample.value else None
                values[key] = sample.value
        return cls(daemon.status(), samples, values, told)


def lane_of(name: str) -> str:
    kind = ROWS[name].kind
    return f"{name}/{kind}/{PRODUCT}" if kind == "traintracks" else f"{name}/{kind}"


def missing(name: str, row: Row, seen: Seen) -> list[str]:
    """Where a row's lane is not, or not yet, told of as it must be."""
    lane = lane_of(name)
    found = [view for view in seen.status["lanes"] if view["name"] == lane]
    if not found:
        return ["there is no lane"]
    (view,) = found
    faults = []

    def expect(what, *, holds):
        if not holds:
            faults.append(what)

    reason = view["reason"]
    expect(f"status: {view['state']}", holds=view["state"] == row.state)
    expect(f"status: {reason}", holds=reason.startswith(row.reason) and bool(reason) == bool(row.reason))
    expect("status: learned_limit", holds=(view["learned_limit"] is not None) == row.learned)
    limit = ("waystation_lane_learned_limit_bytes", ("lane", lane))
    expect("metrics: learned limit", holds=seen.values.get(limit) == view["learned_limit"])
    state = ("waystation_lane_state", ("lane", lane), ("state", row.state))
    expect("metrics: state", holds=state in seen.samples)
    label = row.reason if row.label is None else row.label
    reasons = [
        dict(key[1:])["reason"]
        for key in seen.samples
        if key[0] == "waystation_lane_reason" and ("lane", lane) in key
    ]
    expect(
        f"metrics: {reasons}",
        holds=len(reasons) == bool(label) and all(text.startswith(label[:100]) for text in reasons),
    )
    attempts = ("waystation_attempts_total", ("upstream", name), ("verdict", row.verdict))
    expect("metrics: attempts", holds=attempts in seen.samples)
    lines = [line for line in seen.lines if line.get("lane") == lane and line["event"] == row.line]
    told = [line for line in lines if line.get("reason", "").startswith(row.reason.partition(";")[0])]
    expect(f"log: {row.line}", holds=told)
    if row.dead is not None:
        _, kind, _ = row.dead
        letters = ("waystation_dead_letters", ("reason", kind), ("upstream", name))
        expect("status: dead letters", holds=view["dead_letters"] == 1)
        expect("metrics: dead letters", holds=letters in seen.samples)
    return faults


def config(urls) -> str:
    products = f'[[product]]\nkey = "{PRODUCT}"\nsecret_file = "product.secret"\n'
    upstreams = [
        f'[[upstream]]\nname = "{name}"\nkind = "{row.kind}"\nurl = "{urls[name]}"\n{row.dialect_options}\n'
        f'backoff = {{ initial = "10ms", max = "{"50ms" if "500" in name else "2s"}" }}\n{row.options}\n'
        for name, row in ROWS.items()
    ]
    return f'{LISTENERS}\n[log]\nformat = "json"\n\n{products}' + "\n".join(upstreams)


def post(daemon, event, events, **headers):
    body = json.dumps([{**event, "n": n, "pad": "x" * (LARGEST * (n == LARGE))} for n in range(events)])
    with Client(daemon.socket) as client:
        return client.ask(
            "POST", "/v1/events", body.encode(), {"Content-Type": "application/json", **headers}
        ).status


def test_each_row_is_told_with_its_reason_in_status_metrics_and_log(make_daemon, tmp_path):
    with ExitStack() as stack:
        urls = {}
        for name, row in ROWS.items():
            tls = Authority(tmp_path).server() if name == "tls" else None
            upstream = type("Told", (Capture,), row.capture)(tls=tls, listening=name != "refused")
            upstream.default = row.then
            upstream.script(*row.script)
            urls[name] = stack.enter_context(upstream).url
        daemon = make_daemon(config(urls))
        daemon.secret("product.secret", b"s3cret")
        daemon.start()
        event = {"timestamp": 1, "sourceId": "till", "eventName": "sold"}
        assert post(daemon, event, EVENTS) == 202
        event = {"eventType": "sold", "clientTimestamp": "2026-10-01T00:00:00.000000+00:00", "data": {}}
        assert post(daemon, event, EVENTS, **{"X-Product-Key": PRODUCT}) == 200
        waiting, faults = dict(ROWS), {}

        def all_told():
            # Each once: a state may go on to the next.
            seen = Seen.of(daemon)
            for name, row in list(waiting.items()):
                faults[name] = missing(name, row, seen)
                if not faults[name]:
                    del waiting[name]
            return not waiting

        try:
            until(all_told, "each row is told", within=120)
        except AssertionError:
            pytest.fail(f"not told: { {name: faults[name] for name in waiting} }")
        check_the_rest(daemon)
        # An upstream that holds an attempt is let go before the daemon is asked to stop.
    assert daemon.stop() == 0


def check_the_rest(daemon):
    status = daemon.status()
    assert unbalanced(status) == []
    shown = daemon.run("status").stdout.decode()
    for name, row in ROWS.items():
        if row.reason:
            assert f"{lane_of(name)}: {row.reason}" in shown, name
        if row.learned:
            assert f"{lane_of(name)}: the upstream refused batches much over" in shown, name
        if row.dead is not None:
            position, _, words = row.dead
            listed = daemon.run("dead-letters", "list", "--lane", lane_of(name), "--json").stdout
            (letter,) = [json.loads(line) for line in listed.splitlines()]
            assert (letter["position"], words in letter["reason"]) == (position, True)
    waiting = {upstream["name"]: upstream["waiting"] for upstream in status["upstreams"]}
    assert waiting["retry-503"] == said(503)
    assert waiting["redirect-302"] == said(302) + REDIRECT
    assert waiting["retry-500"] == ""
    assert "planted" not in shown + daemon.log() + json.dumps(status) + daemon.ask("/metrics").body.decode()
