from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest
from fakes.spools import accept, change, chunk, spool_in, wanted

from collector.admin import families, reference
from collector.admin.families import FAMILIES, OTHERS
from collector.admin.metrics import Counted, Sources, scrape
from collector.core.batch import Chunk, Options, Piece, Run
from collector.core.verdict import Delivered, Outcome, Retry
from collector.forwarder.tally import Tally as Attempts
from collector.listener.policy import OTHERS as MORE_USERS
from collector.listener.policy import UserCounts, fresh_counts
from collector.listener.routes import Tally

DOCS = Path(__file__).resolve().parents[3] / "docs" / "operations"
NAMES = re.compile(r"waystation_[a-z_]+")


class FakeForwarder:
    def __init__(self, **tallies: Attempts) -> None:
        self._tallies = tallies

    def tallies(self) -> dict[str, Attempts]:
        return self._tallies

    def breaker(self, _name: str) -> FakeForwarder:
        return self

    is_open = True


def sources(spool, **changes):
    values = {
        "spool": spool,
        "forwarder": FakeForwarder(),
        "listeners": list,
        "users": UserCounts,
        "labels": dict,
        "ready": lambda: True,
        "log_lines": dict,
        "now_ms": lambda: 1_800_000_060_000,
        "more": list,
    }
    return Sources(**{**values, **changes})


async def samples(given: Sources) -> dict[str, float]:
    """What a scrape says, by name and labels as Prometheus writes them."""
    lines = (await scrape(given)).decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_page_lists_every_metric():
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert page == reference.markdown(), "run `make docs`"
    assert all(f"`{family.shown}`" in page for family in FAMILIES)


@pytest.mark.parametrize("file", ["alerts.yml", "dashboard.json"])
def test_what_watches_names_metrics_that_there_are(file):
    known = {family.shown for family in FAMILIES}
    known |= {f"{family.name}_{end}" for family in FAMILIES for end in ("bucket", "sum", "count")}
    named = set(NAMES.findall((DOCS / file).read_text(encoding="utf-8")))
    assert named
    assert named <= known


def test_dashboard_has_a_title_and_a_query_for_each_panel():
    board = json.loads((DOCS / "dashboard.json").read_text(encoding="utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert panels
    assert all(panel["title"] and panel["targets"][0]["expr"] for panel in panels)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


async def test_every_metric_has_its_help_even_where_nothing_has_happened(tmp_path):
    async with spool_in(tmp_path) as spool:
        text = (await scrape(sources(spool))).decode()
    assert all(f"# HELP {family.shown} {family.help}\n" in text for family in FAMILIES)


async def test_backlog_is_told_by_lane(tmp_path):
    async with spool_in(tmp_path, wanted("a"), wanted("b")) as spool:
        await accept(spool, chunk(3), chunk(2))
        found = await samples(sources(spool))
    assert found['waystation_lane_pending_events{lane="a/samsara"}'] == 5
    assert found['waystation_lane_oldest_event_age_seconds{lane="b/samsara"}'] == 60
    assert found['waystation_ledger_events{fate="accepted",lane="a/samsara"}'] == 5
    assert found["waystation_spool_pending_events"] == 10
    assert found['waystation_lanes{state="new",upstream="a"}'] == 1
    assert found['waystation_lane_state{lane="a/samsara",state="blocked"}'] == 0


async def test_what_keeps_a_lane_from_delivering_is_told_without_the_upstreams_words(tmp_path):
    async with spool_in(tmp_path, wanted("a"), wanted("b")) as spool:
        await accept(spool, chunk(3))
        await change(
            spool,
            "UPDATE lane SET state = 'blocked', reason = 'http 401 Unauthorized: who? {\"n\":1}'"
            " WHERE upstream = (SELECT id FROM upstream WHERE name = 'a')",
        )
        found = await samples(sources(spool))
    told = [name for name in found if name.startswith("waystation_lane_reason")]
    assert told == ['waystation_lane_reason{lane="a/samsara",reason="http 401 Unauthorized"}']


async def test_lanes_beyond_the_bound_are_summed(tmp_path, monkeypatch):
    monkeypatch.setattr(families, "MAX_LANES", 2)
    async with spool_in(tmp_path, wanted()) as spool:
        await accept(spool, *(chunk(1, dialect="traintracks", product=f"p{n}") for n in range(5)))
        found = await samples(sources(spool))
    assert found['waystation_lane_pending_events{lane="main/traintracks/p1"}'] == 1
    assert found[f'waystation_lane_pending_events{{lane="{OTHERS}"}}'] == 3
    assert 'waystation_lane_pending_events{lane="main/traintracks/p2"}' not in found
    assert found['waystation_lanes{state="new",upstream="main"}'] == 5


async def test_commits_are_timed(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk())
        found = await samples(sources(spool))
    assert found["waystation_spool_group_requests_count"] == 1
    assert found["waystation_spool_commit_seconds_count"] == found["waystation_spool_commits_total"]
    assert found["waystation_spool_commit_seconds_sum"] >= found["waystation_spool_sync_seconds_sum"] > 0


async def test_requests_are_told_by_listener_dialect_and_answer(tmp_path):
    counts = fresh_counts()
    counts["samsara"].answered(202, size=100, events=4)
    counts["samsara"].answered(202, size=50, events=2)
    counts["samsara"].answered(503, size=9, events=3)
    counts["traintracks"].answered(401, size=7)
    counted = Counted("localhost:9000", Tally(connections=4, open=1, answers={202: 2, 401: 1}), counts)
    async with spool_in(tmp_path) as spool:
        found = await samples(sources(spool, listeners=lambda: [counted]))
    here = 'listener="localhost:9000"'
    assert found[f'waystation_ingest_requests_total{{dialect="samsara",{here},status="202"}}'] == 2
    assert found[f'waystation_ingest_events_total{{dialect="samsara",{here},status="202"}}'] == 6
    assert found[f'waystation_ingest_events_total{{dialect="samsara",{here},status="503"}}'] == 3
    assert found[f'waystation_ingest_received_bytes_total{{dialect="samsara",{here},status="202"}}'] == 150
    assert found[f'waystation_ingest_requests_total{{dialect="traintracks",{here},status="401"}}'] == 1
    assert found[f"waystation_listener_connections{{{here}}}"] == 1


async def test_requests_are_told_by_user(tmp_path):
    users = UserCounts()
    for uid, size in ((None, 1), (1000, 20), (1000, 30), (MORE_USERS, 4)):
        users.of(uid).answered(202, size=size)
    users.of(1000).events = 5
    async with spool_in(tmp_path) as spool:
        found = await samples(sources(spool, users=lambda: users))
    assert found['waystation_user_requests_total{user="1000"}'] == 2
    assert found['waystation_user_events_total{user="1000"}'] == 5
    assert found['waystation_user_received_bytes_total{user="1000"}'] == 50
    assert found['waystation_user_requests_total{user="tcp"}'] == 1
    assert found[f'waystation_user_requests_total{{user="{OTHERS}"}}'] == 1


async def test_attempts_are_told_by_verdict_and_events_by_their_delay(tmp_path):
    attempts = Attempts()
    sent = Outcome(Delivered(), wrote_body=True, sent_bytes=100)
    attempts.attempted(sent, events=3, body_bytes=900, seconds=0.02)
    attempts.attempted(Outcome(Retry("no"), wrote_body=False), events=3, body_bytes=900, seconds=0.5)
    old = Chunk(1, 0, 3, 0, 1_000_000, None, "", 10, b"[]")
    run = Run((Piece(old, 0, [b"{}"] * 3),), 2, 0, ((0, 3),), 10)
    attempts.delivered(run, Options(), now_ms=1_002_000)
    async with spool_in(tmp_path) as spool:
        found = await samples(sources(spool, forwarder=FakeForwarder(main=attempts)))
    assert found['waystation_attempts_total{upstream="main",verdict="delivered"}'] == 1
    assert found['waystation_attempts_total{upstream="main",verdict="retry"}'] == 1
    assert found['waystation_batch_wire_bytes_sum{upstream="main"}'] == 100
    assert found['waystation_delivery_delay_seconds_bucket{le="2.5",upstream="main"}'] == 3
    assert found['waystation_delivery_delay_seconds_bucket{le="1.0",upstream="main"}'] == 0
    assert found['waystation_upstream_waiting{upstream="main"}'] == 1


async def test_configured_labels_are_on_every_sample(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk())
        found = await samples(sources(spool, labels=lambda: {"site": 'ki"osk'}))
    assert all(r'site="ki\"osk"' in name for name in found)


async def test_a_spool_that_cannot_be_read_is_no_scrape(tmp_path):
    async with spool_in(tmp_path) as spool:

        async def fail(_work: object) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        spool.read = fail
        with pytest.raises(sqlite3.OperationalError):
            await scrape(sources(spool))


async def test_what_ended_or_was_refused_is_told_by_lane(tmp_path, monkeypatch):
    monkeypatch.setattr(families, "MAX_LANES", 1)
    async with spool_in(tmp_path, wanted("a"), wanted("b"), wanted("c")) as spool:
        await accept(spool, chunk(1))
        spool.counters.add("evicted", {"a/samsara": 3, "b/samsara": 4, "c/samsara": 5})
        spool.counters.add_refused({"a/samsara": 2, "": 1})
        spool.counters.add_letters({"a/samsara": 6})
        found = await samples(sources(spool))
    assert found['waystation_spool_ended_events_total{fate="evicted",lane="a/samsara"}'] == 3
    assert found['waystation_spool_ended_events_total{fate="evicted",lane="others"}'] == 9
    assert found['waystation_spool_refused_requests_total{lane="a/samsara"}'] == 2
    assert found['waystation_spool_refused_requests_total{lane=""}'] == 1
    assert found['waystation_dead_letters_discarded_total{lane="a/samsara"}'] == 6


async def test_salvages_are_told(tmp_path):
    async with spool_in(tmp_path) as spool:
        assert (await samples(sources(spool)))["waystation_salvages"] == 0
        await change(
            spool,
            "INSERT INTO salvage (at, reason, set_aside, epoch, chunks, events, damaged, notes)"
            " VALUES (1, 'r', 'f', 1, 3, 30, 4, '')",
        )
        found = await samples(sources(spool))
    assert found["waystation_salvages"] == 1
    assert found["waystation_salvaged_requests"] == 3
    assert found['waystation_salvaged_events{fate="lost"}'] == 4
