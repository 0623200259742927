"""How far a salvage is, is told while it goes on."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import structlog
from fakes.damage import root, zero_page
from fakes.spools import spool_in, wanted

from collector.announcements import TELL_SECONDS, SalvageProgress, salvage_progress
from collector.spool.aside import mark_damaged
from collector.spool.confirm import open_database
from collector.spool.directory import DATABASE_FILE
from collector.spool.stages import COPYING, LOOKING, READING


def opened(directory, told):
    upstreams = (wanted(),)
    found = open_database(directory / DATABASE_FILE, durability="full", upstreams=upstreams, now=1, told=told)
    found.database.close()
    return found


def test_a_salvage_tells_each_of_its_steps_and_how_far_it_is(tmp_path, filled):
    directory = shutil.copytree(filled / "closed", tmp_path / "spool")
    database = directory / DATABASE_FILE
    content = bytearray(database.read_bytes())
    zero_page(root(directory, "ledger"))(content)
    database.write_bytes(content)
    mark_damaged(database, "a page is not what was written")
    told = []
    found = opened(directory, lambda *step: told.append(step))
    assert found.salvaged is not None
    assert list(dict.fromkeys(what for what, _, _ in told)) == [COPYING, READING]
    for step in (COPYING, READING):
        counts = [(done, of) for what, done, of in told if what == step]
        assert counts == sorted(counts)
        assert all(0 <= done <= of for done, of in counts)
    assert told[-1][1] > 0


def test_a_mark_that_may_be_wrong_has_it_tell_that_it_looks(tmp_path, filled):
    directory = shutil.copytree(filled / "closed", tmp_path / "spool")
    mark_damaged(directory / DATABASE_FILE, "a disk that failed to read once")
    told = []
    found = opened(directory, lambda *step: told.append(step))
    assert found.salvaged is None
    assert told == [(LOOKING, 0, 0)]


async def test_a_sound_spool_is_opened_without_a_word(tmp_path, filled):
    directory = shutil.copytree(filled / "died", tmp_path / "spool")
    told = []
    opened(directory, lambda *step: told.append(step))
    assert told == []
    async with spool_in(directory):
        pass


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_the_log_has_a_line_a_step_and_one_every_ten_seconds():
    clock, lines = Clock(), []
    with structlog.testing.capture_logs() as log:
        progress = SalvageProgress(lines.append, clock)
        progress(LOOKING, 0, 0)
        for done in range(50):
            progress(COPYING, done, 100)
        clock.now += TELL_SECONDS
        progress(COPYING, 50, 100)
        progress(COPYING, 51, 100)
    assert [(line["event"], line["step"], line["percent"]) for line in log] == [
        ("spool_being_salvaged", LOOKING, None),
        ("spool_being_salvaged", COPYING, 0),
        ("spool_being_salvaged", COPYING, 50),
    ]
    assert lines == [
        f"the spool may be damaged: {LOOKING}",
        f"the spool may be damaged: {COPYING}, 0 %",
        f"the spool may be damaged: {COPYING}, 50 %",
    ]


def test_where_a_person_sees_a_bar_the_log_is_quiet():
    seen, lines = [], []

    @contextmanager
    def show():
        yield lambda *step: seen.append(step)
        seen.append("closed")

    with (
        structlog.testing.capture_logs() as log,
        salvage_progress(lines.append, Clock(), show) as told,
    ):
        told(COPYING, 0, 10)
        told(COPYING, 5, 10)
    assert seen == [(COPYING, 0, 10), (COPYING, 5, 10), "closed"]
    assert log == []
    assert len(lines) == 1
