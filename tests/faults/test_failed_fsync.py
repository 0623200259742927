"""A disk that refuses to sync: what the kernel says is `EIO`, put there by strace."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.spools import ledger, query, spool_in

WRITER = Path(__file__).parent / "spool_writer.py"
REQUESTS = 12


def why_not() -> str:
    """Why no system call can be made to fail here; empty where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=none", "-e", "inject=fdatasync:error=EIO:when=1", "true"],
        capture_output=True,
        check=False,
        text=True,
    )
    return f"strace may not trace: {tried.stderr.strip()[:100]}" if tried.returncode else ""


WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


@dataclass(frozen=True)
class Report:
    """What a writer said, and what it asked of the kernel meanwhile, in order."""

    said: list[str]
    calls: list[str]

    def numbers(self, word: str) -> list[int]:
        return [int(line.split()[1]) for line in self.said if line.startswith(word)]


def write(directory: Path, what_then: str, *, failing: str = "", complaint: str = "") -> Report:
    """Run a writer; `failing` says which of its syncs fail, as strace counts: `7`, or `7..9`."""
    log = directory.with_suffix(".log")
    inject = ["-e", f"inject=fdatasync:error=EIO:when={failing}"] if failing else []
    process = subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", log, "-e", "trace=fdatasync,ftruncate,write", *inject),
            *(sys.executable, WRITER, directory, str(REQUESTS), what_then),
        ],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert re.search(complaint, process.stderr) if complaint else process.stderr == ""
    return Report(process.stdout.splitlines(), log.read_text().splitlines())


@pytest.fixture(scope="module")
def syncs_before_open(tmp_path_factory) -> int:
    """How many times opening an existing spool syncs, so that a later one can be chosen."""
    directory = tmp_path_factory.mktemp("spool") / "spool"
    report = write(directory, "go-on")
    assert report.numbers("acknowledged") == list(range(REQUESTS))
    until = next(number for number, call in enumerate(report.calls) if '"open\\n"' in call)
    return sum("fdatasync(" in call for call in report.calls[:until])


async def kept(directory: Path) -> list[int]:
    """What a start finds: the requests, by number, after checking that all of it fits together."""
    async with spool_in(directory) as spool:
        rows = await query(spool, "SELECT seq, first_position, body FROM chunk ORDER BY seq")
        assert [position for _, position, _ in rows] == list(range(len(rows)))
        counts = await ledger(spool) if rows else {"accepted": 0, "pending": 0}
        assert counts == {"accepted": len(rows), "pending": len(rows)}
        return [json.loads(body)[0]["n"] for _, _, body in rows]


@pytest.mark.parametrize("failing", [1, 2, 3, 8])
async def test_a_death_after_a_failed_sync_loses_nothing_that_was_acknowledged(
    tmp_path, syncs_before_open, failing
):
    directory = tmp_path / "spool"
    report = write(directory, "die", failing=str(syncs_before_open + failing))
    acknowledged = report.numbers("acknowledged")
    (refused,) = report.numbers("refused")
    assert acknowledged == list(range(refused))
    # What was refused may be there all the same: the request's client will send it again.
    assert await kept(directory) in (acknowledged, [*acknowledged, refused])


@pytest.mark.parametrize("failing", ["2", "5..7"])
async def test_after_a_failed_sync_the_log_is_emptied_before_anything_is_acknowledged(
    tmp_path, syncs_before_open, failing
):
    directory = tmp_path / "spool"
    first, *last = (syncs_before_open + int(number) for number in failing.split(".."))
    report = write(directory, "go-on", failing=f"{first}..{last[0]}" if last else str(first))
    acknowledged, refused = report.numbers("acknowledged"), report.numbers("refused")
    assert refused
    assert sorted(acknowledged + refused) == list(range(REQUESTS))
    assert refused[-1] < REQUESTS - 1
    assert await kept(directory) == acknowledged
    failures = [number for number, call in enumerate(report.calls) if "EIO" in call]
    log_file = re.search(r"fdatasync\((\d+)\)", report.calls[failures[0]])[1]
    after = report.calls[failures[-1] :]
    emptied = next(number for number, call in enumerate(after) if f"ftruncate({log_file}, 0)" in call)
    next_answer = next(number for number, call in enumerate(after) if "acknowledged" in call)
    assert emptied < next_answer


async def test_a_start_that_cannot_sync_is_refused_and_the_next_one_loses_nothing(tmp_path):
    directory = tmp_path / "spool"
    write(directory, "go-on")
    assert (directory / "spool.db-wal").stat().st_size > 0
    failed = write(directory, "die", failing="1", complaint="SpoolUnavailable: .*disk I/O error")
    assert failed.said == []
    assert await kept(directory) == list(range(REQUESTS))
