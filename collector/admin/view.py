"""The status page's content as texts and numbers: what the template shows, decided without it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.admin.advice import advice
from collector.admin.daily import Bar, DayLine, chart, day_line
from collector.admin.wording import Since, age, one_line, since
from collector.config.units import rounded_duration, rounded_size
from collector.core.days import MS_A_DAY, day_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collector.spool.glance import Glance
    from collector.spool.letters import Letter
    from collector.spool.views import LaneView

MAX_LANES = 100
"""On the page; those that do not deliver come first."""


MAX_NAMES = 4
"""In a headline, which is to be read from afar."""

_STEERED = frozenset({"narrowing", "paused"})
"""States that say of a lane that is well, too, why it does not do as it mostly does."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What the daemon knows beside the spool's tables.

    Attributes:
        now_ms: wall time, ms since 1970.
        waiting: by upstream that is configured, why its lanes wait for a probe; empty where they do not.
        trouble: why nothing is accepted or committed; empty where it is.
        labels: the operator's own.
        reload_refused: why the last reload was; empty where it was not.
    """

    now_ms: int
    waiting: Mapping[str, str]
    trouble: str
    used_bytes: int
    max_bytes: int
    uptime: float
    version: str
    device: str
    labels: Mapping[str, str] = field(default_factory=dict)
    reload_refused: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """An upstream: `state` is up, down or idle, `since` where that is known."""

    upstream: str
    state: str
    since: Since | None
    reason: str


@dataclass(frozen=True, slots=True)
class LaneCard:
    """A lane; `advice` is empty where nothing is wrong, nor else than it mostly is."""

    name: str
    state: str
    fine: bool
    reason: str
    advice: str
    since: Since
    waiting: str
    oldest: str
    next_attempt: str


@dataclass(frozen=True, slots=True)
class LetterLine:
    """A dead letter."""

    id: int
    lane: str
    day: str
    reason: str
    died: Since
    replayable: bool


@dataclass(frozen=True, slots=True)
class View:
    """The whole page."""

    good: bool
    headline: str
    trouble: str
    notes: Sequence[str]
    links: Sequence[Link]
    waiting: int
    oldest: Since | None
    today: DayLine
    chart: Sequence[Bar]
    lanes: Sequence[LaneCard]
    more_lanes: int
    letters: Sequence[LetterLine]
    kept_letters: int
    letters_by_lane: Sequence[tuple[str, int]]
    days: Sequence[DayLine]
    used: str
    quota: str
    used_percent: int
    uptime: str
    version: str
    device: str
    now: Since


def make_view(glance: Glance, moment: Moment) -> View:
    """The page of this moment."""
    cards = [_card(lane, moment) for lane in glance.lanes]
    links = [_link(name, glance.lanes, moment) for name in moment.waiting]
    down = [link.upstream for link in links if link.state == "down"]
    ill = [card for card in cards if not card.fine]
    oldest = [lane.oldest_received_at for lane in glance.lanes if lane.oldest_received_at is not None]
    chart_rows = {row.day: row for row in glance.days}
    today = day_name(moment.now_ms // MS_A_DAY)
    shown = sorted(cards, key=lambda card: card.fine)[:MAX_LANES]
    waiting = sum(lane.pending_events for lane in glance.lanes)
    return View(
        good=not (moment.trouble or down or ill),
        headline=_headline(moment, down, ill, glance),
        trouble=moment.trouble,
        notes=_notes(glance, moment),
        links=links,
        waiting=waiting,
        oldest=since(min(oldest), moment.now_ms) if oldest else None,
        today=day_line(today, chart_rows.get(today)),
        chart=chart(chart_rows, moment.now_ms),
        lanes=shown,
        more_lanes=len(cards) - len(shown),
        letters=[letter_line(letter, moment) for letter in glance.letters],
        kept_letters=glance.kept_letters,
        letters_by_lane=[(lane.name, lane.dead_letters) for lane in glance.lanes if lane.dead_letters],
        days=[day_line(row.day, row) for row in glance.days],
        used=rounded_size(moment.used_bytes),
        quota=rounded_size(moment.max_bytes),
        used_percent=min(100, round(100 * moment.used_bytes / moment.max_bytes)),
        uptime=rounded_duration(moment.uptime),
        version=moment.version,
        device=" · ".join((moment.device, *(f"{name} {value}" for name, value in moment.labels.items()))),
        now=since(moment.now_ms, moment.now_ms),
    )


def _notes(glance: Glance, moment: Moment) -> list[str]:
    """What else an operator has to know."""
    notes = []
    if moment.reload_refused:
        notes.append(f"The last reload was refused, nothing was changed: {one_line(moment.reload_refused)}")
    if glance.salvage is not None:
        salvage = glance.salvage
        notes.append(
            f"The spool was damaged ({one_line(salvage.reason)}) and salvaged"
            f" {since(salvage.at, moment.now_ms).at}; the old one is kept as {salvage.set_aside}."
            " See `waystation doctor`."
        )
    return notes


def _headline(moment: Moment, down: Sequence[str], ill: Sequence[LaneCard], glance: Glance) -> str:
    refused = glance.kept_letters
    if moment.trouble:
        said = "Nothing is accepted"
    elif down:
        said = f"{_listed(down)} {'does' if len(down) == 1 else 'do'} not take events"
    elif ill:
        said = f"{len(ill)} {'lane does' if len(ill) == 1 else 'lanes do'} not deliver"
    elif not glance.lanes:
        said = "Ready: no events have come yet"
    elif any(lane.pending_events for lane in glance.lanes):
        said = "Events are going out"
    elif refused:
        said = f"Nothing waits; {refused:,} {'event was' if refused == 1 else 'events were'} refused"
    else:
        said = "Everything has gone out"
    return said


def _listed(names: Sequence[str]) -> str:
    """Names in a headline; of many the first alone."""
    if len(names) > MAX_NAMES:
        names = [*names[: MAX_NAMES - 1], f"{len(names) - MAX_NAMES + 1} more"]
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _state(lane: LaneView, moment: Moment) -> tuple[str, str]:
    """State and reason; a lane that waits behind another's probe has none of its own."""
    behind = moment.waiting.get(lane.upstream, "")
    if behind and lane.delivers and lane.pending_events:
        return "waiting", behind
    return lane.state, lane.reason


def _card(lane: LaneView, moment: Moment) -> LaneCard:
    state, reason = _state(lane, moment)
    fine = lane.delivers and state != "waiting"
    soon = lane.next_attempt_at
    oldest = lane.oldest_received_at
    return LaneCard(
        name=lane.name,
        state=state,
        fine=fine,
        reason=one_line(reason),
        advice="" if fine and state not in _STEERED else advice(state, reason, lane.upstream),
        since=since(lane.since, moment.now_ms),
        waiting=f"{lane.pending_events:,}",
        oldest="" if oldest is None else age(oldest, moment.now_ms),
        next_attempt="" if fine or soon is None else rounded_duration(max(0, soon - moment.now_ms) // 1000),
    )


def _link(upstream: str, lanes: Sequence[LaneView], moment: Moment) -> Link:
    own = [lane for lane in lanes if lane.upstream == upstream]
    ill = [lane for lane in own if not lane.delivers]
    waiting = moment.waiting[upstream]
    if ill or waiting:
        begun = min((lane.since for lane in ill), default=None)
        reason = waiting or ill[0].reason
        return Link(
            upstream, "down", None if begun is None else since(begun, moment.now_ms), one_line(reason)
        )
    recovered = max((lane.since for lane in own if lane.state in {"healthy", "narrowing"}), default=None)
    if recovered is None:
        if any(lane.dead_letters for lane in own):
            return Link(upstream, "up", None, "it answers, and has taken no event so far")
        return Link(upstream, "idle", None, "")
    return Link(upstream, "up", since(recovered, moment.now_ms), "")


def letter_line(letter: Letter, moment: Moment) -> LetterLine:
    """A dead letter on a line."""
    return LetterLine(
        id=letter.id,
        lane=letter.lane,
        day=letter.day,
        reason=one_line(letter.reason),
        died=since(letter.died_at, moment.now_ms),
        replayable=not letter.damaged and letter.lane.partition("/")[0] in moment.waiting,
    )
