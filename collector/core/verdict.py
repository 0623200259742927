"""Verdicts: what an attempt to send a batch means.

An answer, or the lack of one, becomes one of five verdicts:

    Delivered   the upstream has the batch
    Retry       it may work later; nothing is wrong with the batch
    Blocked     it will not work until someone changes something; the lane keeps its events
                and probes
    Split       the batch is too much as a whole; its halves may pass
    Rejected    events of the batch are refused for what they are

Whatever is not known is Blocked, where nothing is lost. Only the dialect's own success
status is Delivered, and not where an HTML page comes with it: that is a captive portal,
which answers 200 to everything.

A reason is made of our own words, a status and sizes: it stands in the status, in metrics and in the
log. What the upstream wrote may repeat what is in an event, and is kept apart, as the verdict's `excerpt`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from collector.core.failure import Failure
from collector.core.pages import is_page
from collector.core.reply import described, named_events, retry_after

if TYPE_CHECKING:
    from collector.core.policy import Policy
    from collector.core.reply import Reply

SAME_500_LIMIT = 10
"""Answers of 500 in a row after which the batch itself is suspected."""

UNAUTHORISED = 401
REFUSALS = frozenset({UNAUTHORISED, 403})  # of who asks
_INTERNAL_SERVER_ERROR = 500
_TOO_LARGE = 413
_NETWORK_AUTHENTICATION_REQUIRED = 511
_SUCCESSES = range(200, 300)
_REDIRECTS = range(300, 400)

BREAKER_STATUSES = frozenset({429, 502, 503, 504})
"""What speaks of the upstream as a whole: one lane probes for all."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The upstream has taken the batch."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The batch may pass later.

    Attributes:
        reason: for people, on one line; so for the others below.
        status: the HTTP status, None where no answer came.
        excerpt: the start of the answer's body, at most `MAX_EXCERPT` characters.
        after: seconds that the upstream asked to wait, at most `MAX_RETRY_AFTER`.
        breaker: whether this speaks of the upstream as a whole.
    """

    reason: str
    status: int | None = None
    after: float | None = None
    breaker: bool = False
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class Blocked:
    """The batch will not pass until something is changed; its lane waits and probes.

    Attributes:
        whole_upstream: whether no lane of the upstream can pass.
    """

    reason: str
    status: int | None = None
    whole_upstream: bool = False
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """The batch holds too much, or something that the upstream cannot stomach."""

    reason: str
    status: int | None = None
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Events of the batch are refused for what they are.

    Attributes:
        named: (index in the batch, what is wrong with that event), ascending; empty where
            the answer does not say which, so that only halving finds out.
    """

    reason: str
    status: int
    excerpt: str
    named: tuple[tuple[int, str], ...] = ()


Verdict = Delivered | Retry | Blocked | Split | Rejected


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt came to.

    Attributes:
        verdict: what it means.
        wrote_body: whether any byte of the body may have left this machine.
        settled: for files, the marker up to which the lane's files are good.
        server_time_offset: seconds to add to our wall clock for the upstream's, None
            where it did not say.
        sent_bytes: of the body, after any compression, that went out on the link.
        seconds: from the request's first byte to the answer's last, None where none came.
        cut_short: whether the body was begun and not sent to its end, so that nobody can have taken it.
    """

    verdict: Verdict
    wrote_body: bool
    settled: str | None = None
    server_time_offset: float | None = None
    sent_bytes: int = 0
    seconds: float | None = None
    cut_short: bool = False


def judge(reply: Reply, *, policy: Policy, events: int, now_ms: int) -> Verdict:
    """Say what an answer means.

    Args:
        reply: the whole of it; one that was cut short is a `Failure`.
        policy: the upstream's.
        events: in the batch, at least 1.
        now_ms: wall time in ms since 1970, for a Retry-After that names a date.
    """
    status, start = reply.status, reply.excerpt
    said = _said(status)
    stranger = _of_a_stranger(reply)
    if status in policy.success or (stranger and status in _SUCCESSES):
        return stranger or Delivered()
    if status in policy.retry:
        after = retry_after(reply, now_ms=now_ms)
        return Retry(said, status, after, breaker=status in BREAKER_STATUSES, excerpt=start)
    if status in policy.reject:
        # Of events the upstream speaks otherwise: this is about the request, or from somebody on the way.
        return stranger or _rejected(reply, events)
    if status == _TOO_LARGE and status not in policy.block:
        return Split(said, status, start) if events > 1 else _rejected(reply, events)
    return _blocked(reply)


def escalate(verdict: Verdict, *, same_500: int, events: int, bury: bool = False) -> Verdict:
    """Suspect the batch itself once the upstream has failed on it often enough.

    Args:
        verdict: of this attempt.
        same_500: how many attempts in a row this batch was answered 500, this one included.
        events: in the batch.
        bury: whether a single event is given up.

    Returns:
        Split, or for a single event Blocked or, with `bury`, Rejected; the same verdict before that.
    """
    if not isinstance(verdict, Retry) or verdict.status != _INTERNAL_SERVER_ERROR:
        return verdict
    if same_500 < SAME_500_LIMIT:
        return verdict
    if events > 1:
        reason = f"{verdict.reason}, {SAME_500_LIMIT} times for this batch"
        return Split(reason, verdict.status, verdict.excerpt)
    # The same words at each probe: a lane that stays blocked has nothing new to tell.
    reason = f"{verdict.reason}, {SAME_500_LIMIT} times and more for this one event"
    if bury:
        return Rejected(reason, verdict.status, verdict.excerpt, named=((0, reason),))
    return Blocked(reason, verdict.status, excerpt=verdict.excerpt)


def name_skew(verdict: Verdict, offset: float) -> Verdict:
    """Say of a refusal that the clocks differ, which may be what it is for.

    Args:
        verdict: of an answer.
        offset: seconds by which the upstream's clock is ahead of this machine's.

    Returns:
        The verdict with that in its reason; the same one where it is no refusal of who asks.
    """
    if not isinstance(verdict, Blocked) or verdict.status not in REFUSALS:
        return verdict
    way = "behind" if offset > 0 else "ahead of"
    told = f"this machine's clock is {abs(offset):.0f} s {way} the upstream's"
    cause, _, detail = verdict.reason.partition(": ")
    return replace(verdict, reason="; ".join(filter(None, (f"{cause}, clocks differ: {told}", detail))))


def judge_failure(failure: Failure, detail: str) -> Verdict:
    """Say what it means that no answer came.

    Args:
        failure: what happened.
        detail: more about it, on one line, without any secret; may be empty.
    """
    reason = f"{failure.value}: {detail}" if detail else failure.value
    if failure in {Failure.CONNECT, Failure.TIMEOUT, Failure.PROXY}:
        return Retry(reason, breaker=True)
    if failure in {Failure.BROKEN, Failure.TOO_LONG, Failure.BUSY}:
        return Retry(reason)
    return Blocked(reason, whole_upstream=failure is not Failure.LOCAL)


def _of_a_stranger(reply: Reply) -> Blocked | None:
    """The verdict on an answer that is not the upstream's own; None where it may well be."""
    said, status = _said(reply.status), reply.status
    if is_page(reply):
        # nginx refuses a client certificate, or the lack of one, with 400, as if the events were at fault.
        if b"SSL certificate" in reply.body:
            wrong = ", client certificate missing or refused: the upstream asks for another one, or for one"
        else:
            wrong = " with an HTML page: a captive portal, or the wrong url"
    elif reply.opaque:
        wrong = " in a coding that cannot be read: a captive portal cannot be told from the upstream"
    else:
        return None
    return Blocked(said + wrong, status, whole_upstream=True, excerpt=reply.excerpt)


def _said(status: int) -> str:
    try:
        return f"http {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"http {status}"


def _blocked(reply: Reply) -> Blocked:
    status, start = reply.status, reply.excerpt
    said = _said(status)
    if status in _REDIRECTS:
        wrong = f"{said}, and redirects are not followed"
        return Blocked(wrong, status, whole_upstream=True, excerpt=start)
    if reply.body:
        said = f"{said}: {described(reply)}"
    whole = status == _NETWORK_AUTHENTICATION_REQUIRED
    return Blocked(said, status, whole_upstream=whole, excerpt=start)


def _rejected(reply: Reply, events: int) -> Rejected:
    said, start = _said(reply.status), reply.excerpt
    named = named_events(reply, events)
    if not named and events == 1:
        named = ((0, f"{said}: {start}" if start else said),)
    return Rejected(said, reply.status, start, named)
