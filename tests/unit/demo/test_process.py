"""The demo's processes end with it, and its steps say why they did not come about."""

from __future__ import annotations

import os
import sys

import pytest
import trio
from fakes.processes import alive

from collector.demo.process import PATIENCE, Process, step
from collector.errors import DemoFailed


def process(tmp_path, program, **environ):
    return Process("child", "-c", program, directory=tmp_path, environ={"PATH": os.defpath} | environ)


async def test_process_is_gone_after_its_block(tmp_path):
    async with process(tmp_path, "import sys; sys.stdin.read()") as child:
        await child.spawn(pipes=True)
        assert alive(child.pid)
    assert not alive(child.pid)


async def test_process_is_gone_after_a_cancelled_block(tmp_path):
    with trio.CancelScope() as scope:
        async with process(tmp_path, "import sys; sys.stdin.read()") as child:
            await child.spawn(pipes=True)
            scope.cancel()
            await trio.sleep_forever()
    assert not alive(child.pid)


async def test_process_gets_a_home_of_its_own_and_no_settings_of_ours(tmp_path):
    program = "import os, sys; print(sorted(os.environ), os.environ['HOME'], file=sys.stderr)"
    ours = {"WAYSTATION_CONFIG": "/etc/x", "HTTP_PROXY": "http://proxy", "HOME": "/root", "LC_ALL": "C"}
    child = process(tmp_path, program, **ours)
    async with child:
        await child.spawn()
        assert await child.ended() == 0
    told = child.last_words()
    assert "WAYSTATION_CONFIG" not in told
    assert "HTTP_PROXY" not in told
    assert "LC_ALL" in told
    assert str(tmp_path) in told


async def test_last_words_are_the_exit_code_and_the_end_of_the_log(tmp_path):
    async with process(tmp_path, "import sys; sys.exit('\\n'.join(map(str, range(99))))") as child:
        assert child.last_words() == ""
        await child.spawn()
        await child.ended()
        assert child.last_words().startswith("the last lines of child, which ended with 1:\n")
        assert child.last_words().endswith("97\n98")


async def test_step_that_takes_too_long_fails_with_what_is_known(autojump_clock):
    start = autojump_clock.current_time()
    told = "failed where it comes: not within 60 s\nstill waiting"
    with pytest.raises(DemoFailed, match=told), step("it comes", detail=lambda: "still waiting"):
        await trio.sleep_forever()
    assert autojump_clock.current_time() - start == PATIENCE


async def test_step_that_breaks_fails_with_the_reason_and_the_processs_last_words(tmp_path):
    async with process(tmp_path, "raise SystemExit('boom')") as child:
        await child.spawn()
        await child.ended()
        with pytest.raises(DemoFailed) as failed, step("it comes", child):
            raise OSError("broken")
    assert str(failed.value).splitlines() == [
        "the demo failed where it comes: broken",
        "the last lines of child, which ended with 1:",
        "boom",
    ]


async def test_step_that_comes_about_says_nothing():
    with step("it comes"):
        await trio.lowlevel.checkpoint()


def test_children_run_by_the_same_interpreter(tmp_path):
    assert sys.executable in process(tmp_path, "").command
