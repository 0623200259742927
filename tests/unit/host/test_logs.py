from __future__ import annotations

import json

import pytest
import structlog

from collector.host.folding import FOLD_SECONDS, MAX_FOLDED
from collector.host.logs import Log


class Told(list):
    """The lines of a log under test, and its clock."""

    now = 0.0


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def make_log(told):
    kept = structlog.get_config()

    def make(*, journal=False, level="info", form="logfmt", labels=None):
        log = Log(journal=journal, write=told.append, clock=lambda: told.now)
        log.change(level=level, form=form, labels=labels)
        log.install()
        return log

    yield make
    structlog.configure(**kept)


def logger(**bound):
    return structlog.get_logger().bind(**bound)


def test_a_line_is_logfmt_with_time_and_level(make_log, told):
    make_log()
    logger().info("ready", listening="localhost:9000", lanes=3, nothing=None)
    (line,) = told
    assert line.startswith("time=20")
    assert line.partition(" ")[2] == "level=info event=ready listening=localhost:9000 lanes=3 nothing="


def test_a_line_is_json_where_that_is_wanted(make_log, told):
    make_log(form="json")
    logger(lane="a").warning("lane_blocked", reason='said "no"\n')
    fields = json.loads(told[0])
    assert fields.pop("time").endswith("Z")
    assert fields == {"level": "warning", "event": "lane_blocked", "lane": "a", "reason": 'said "no"\n'}


def test_a_line_stays_one_line(make_log, told):
    make_log()
    logger().warning("odd", reason="first\nsecond")
    assert "\n" not in told[0]


@pytest.mark.parametrize(("method", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3)])
def test_the_journal_gets_priorities_and_stamps_lines_itself(make_log, told, method, priority):
    make_log(journal=True, level="debug")
    getattr(logger(), method)("something")
    assert told == [f"<{priority}>level={method} event=something"]


def test_what_is_below_the_level_is_not_told(make_log, told):
    log = make_log(level="warning")
    logger().info("quiet")
    assert told == []
    log.change(level="debug", form="logfmt")
    logger().debug("loud")
    assert "event=loud" in told[0]


def test_a_logger_that_was_used_before_follows_a_change(make_log, told):
    log = make_log(level="info")
    used = logger()
    used.info("one")
    log.change(level="error", form="logfmt")
    used.info("two")
    assert len(told) == 1


def test_labels_are_on_each_line(make_log, told):
    make_log(labels={"site": "north"})
    logger().info("ready")
    assert "site=north" in told[0]


@pytest.mark.parametrize(
    ("fields", "secret"),
    [
        ({"secret": "hunter2"}, "hunter2"),
        ({"admin_token": "hunter2"}, "hunter2"),
        ({"proxy_password": "hunter2"}, "hunter2"),
        ({"url": "https://user:hunter2@host/v1"}, "hunter2"),
        ({"reason": "cannot reach https://user:p@hunter2@host/v1 now"}, "hunter2"),
        ({"reason": "at https://host/v1?key=hunter2 was 500"}, "hunter2"),
        ({"reason": "sent Authorization: Bearer hunter2hunter2"}, "hunter2"),
        ({"places": ["https://user:hunter2@host"]}, "hunter2"),
    ],
)
def test_secrets_are_hidden(make_log, told, fields, secret):
    make_log()
    logger().error("failed", **fields)
    assert secret not in told[0]
    assert "event=failed" in told[0]


def test_secrets_in_a_traceback_are_hidden(make_log, told):
    make_log()
    try:
        raise ValueError("https://user:hunter2@host")  # noqa: TRY301
    except ValueError:
        logger().exception("failed")
    assert "ValueError" in told[0]
    assert "hunter2" not in told[0]


def test_a_warning_that_repeats_itself_is_told_once_and_counted(make_log, told):
    log = make_log()
    for wait in range(5):
        logger(lane="a").warning("settling_waits", reason="disk I/O error", wait=wait)
    assert len(told) == 1
    told.now = FOLD_SECONDS
    log.flush()
    assert len(told) == 2
    assert "repeated=4" in told[1]
    told.now *= 3
    log.flush()
    assert len(told) == 2


def test_the_next_one_after_the_time_says_how_many_there_were(make_log, told):
    make_log()
    for _ in range(3):
        logger().error("failed", reason="x")
    told.now = FOLD_SECONDS
    logger().error("failed", reason="x")
    assert len(told) == 2
    assert "repeated=2" in told[1]


def test_other_texts_are_other_lines(make_log, told):
    make_log()
    logger(lane="a").warning("lane_retrying", reason="http 503")
    logger(lane="a").warning("lane_retrying", reason="http 502")
    logger(lane="b").warning("lane_retrying", reason="http 503")
    assert len(told) == 3


def test_a_state_that_changes_back_and_forth_is_told_each_time(make_log, told):
    make_log()
    for _ in range(3):
        logger(lane="a").warning("lane_retrying", reason="http 503")
        logger(lane="a").info("lane_healthy")
    assert len(told) == 6


def test_what_is_counted_is_told_at_the_end(make_log, told):
    log = make_log()
    logger().error("failed")
    logger().error("failed")
    log.flush(everything=True)
    assert "repeated=1" in told[1]


def test_no_more_lines_are_remembered_than_there_is_room_for(make_log, told):
    log = make_log()
    for number in range(MAX_FOLDED + 50):
        logger().warning("failed", reason=f"reason {number}")
    assert len(log._folding._lines) == MAX_FOLDED


def test_information_is_never_folded(make_log, told):
    make_log()
    for _ in range(3):
        logger().info("reloaded")
    assert len(told) == 3


def test_lines_are_counted_by_level(make_log):
    log = make_log()
    logger().info("a")
    logger().error("b")
    logger().error("b")
    assert log.lines == {"info": 1, "error": 1}
