"""`waystation spool`: look inside, without changing anything."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from collector.cli.options import complete_lane, config_option
from collector.cli.progress import bar
from collector.errors import UsageError, WaystationError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Generator, Iterator

    from collector.config.model import Config
    from collector.spool.read import Lane

lane_option = click.option(
    "--lane",
    "lane_name",
    metavar="NAME",
    shell_complete=complete_lane,
    help="Only this lane, as `status` names it.",
)


@click.group()
def spool() -> None:
    """Look inside the spool.

    All of these work beside a running daemon and without one: all but `info` read a copy.
    """


def _load(config_path: Path | None) -> Config:
    from collector.config.load import load  # noqa: PLC0415 - other commands must not pay for it

    return load(config_path, dict(os.environ), read_secrets=False)


@contextmanager
def _open(config: Config) -> Generator[sqlite3.Connection]:
    from collector.spool.copy import copied  # noqa: PLC0415

    directory = Path(config.state_dir)
    with copied(directory, beside_daemon=True) as connection:
        if connection is None:
            raise WaystationError(f"there is no spool in {directory}; start a daemon with `waystation run`")
        yield connection


def _lanes(connection: sqlite3.Connection, name: str | None) -> list[Lane]:
    from collector.spool import read  # noqa: PLC0415

    lanes = read.lanes(connection)
    chosen = [lane for lane in lanes if name in {None, lane.name}]
    if name is not None and not chosen:
        known = ", ".join(lane.name for lane in lanes) or "none at all"
        raise UsageError(f"there is no lane {name}; there are: {known}")
    return chosen


@spool.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def info(config_path: Path | None, *, as_json: bool) -> None:
    """Show the spool's size, epoch, backlog, what was salvaged, and what lies set aside."""
    import msgspec  # noqa: PLC0415

    from collector.admin.inside import look  # noqa: PLC0415
    from collector.cli.status_source import current_status as current  # noqa: PLC0415

    config = _load(config_path)
    found = look(current(config), Path(config.state_dir))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    for label, value in found.lines():
        click.echo(f"{label:<12} {value}")


@spool.command()
@config_option
@lane_option
@click.option(
    "-n", "--count", type=click.IntRange(1), default=10, show_default=True, help="How many of each lane."
)
def peek(config_path: Path | None, *, lane_name: str | None, count: int) -> None:
    """Print the events that are sent next, as NDJSON."""
    with _open(_load(config_path)) as connection:
        damaged = 0
        for lane in _lanes(connection, lane_name):
            damaged += _print(islice(_lines(connection, lane), count), sys.stdout)
    _end(damaged)


@spool.command()
@config_option
@lane_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A new file. [default: standard output]",
)
def export(config_path: Path | None, *, lane_name: str | None, output: Path | None) -> None:
    """Print all events that wait, as NDJSON: each with its lane and position.

    An event that two lanes wait for is there twice. Nothing is taken out of the spool.
    """
    with _open(_load(config_path)) as connection:
        lanes = _lanes(connection, lane_name)
        damaged = 0
        with ExitStack() as stack:
            advance: Callable[[int], None] = _unseen
            if output is not None:
                try:
                    # Events are as private here as they are in the spool.
                    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                except OSError as error:
                    raise UsageError(f"{output}: {error.strerror}") from error
                file: TextIO = stack.enter_context(os.fdopen(descriptor, "w", encoding="utf-8"))
            else:
                file = sys.stdout
            if not file.isatty():
                waiting = _waiting(connection, {lane.name for lane in lanes})
                advance = stack.enter_context(bar("exporting", waiting))
            for lane in lanes:
                damaged += _print(_lines(connection, lane), file, advance)
    _end(damaged)


def _waiting(connection: sqlite3.Connection, lanes: set[str]) -> int:
    from collector.spool.overview import overview  # noqa: PLC0415

    return sum(row.pending for row in overview(connection).ledger if row.lane in lanes)


@spool.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def verify(config_path: Path | None, *, as_json: bool) -> None:
    """Check every page and chunk, the positions, and the ledger against the chunks.

    Reads all of the spool. Exits with 0 when everything holds and 1 when not.
    """
    import msgspec  # noqa: PLC0415

    from collector.spool.verify import chunk_count  # noqa: PLC0415
    from collector.spool.verify import verify as prove  # noqa: PLC0415

    with _open(_load(config_path)) as connection, bar("verifying chunks", chunk_count(connection)) as advance:
        proof = prove(connection, advance=advance)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(proof), indent=2))
    else:
        for problem in proof.problems:
            click.echo(f"wrong: {problem}")
        click.echo(
            f"{proof.chunks:,} chunks with {proof.events:,} events and {proof.ledger_rows:,} ledger rows:"
            f" {'all is right' if not proof.problems else f'{len(proof.problems)} problems'}"
        )
    if proof.problems:
        sys.exit(1)


def _lines(connection: sqlite3.Connection, lane: Lane) -> Iterator[str | None]:
    """A line an event; None for a chunk that is damaged."""
    import msgspec  # noqa: PLC0415

    from collector.core.ndjson import in_a_line  # noqa: PLC0415
    from collector.spool import read  # noqa: PLC0415
    from collector.spool.verify import pending  # noqa: PLC0415

    for found in pending(connection, lane):
        if isinstance(found, read.DamagedChunk):
            click.echo(f"waystation: {lane.name}: {found}", err=True)
            yield None
            continue
        position, chunk, event = found
        head = {
            "lane": lane.name,
            "position": position,
            "receivedAt": chunk.received_at,
            "remoteAddress": chunk.remote_address or None,
            "event": msgspec.Raw(in_a_line(event)),
        }
        yield msgspec.json.encode({key: value for key, value in head.items() if value is not None}).decode()


def _unseen(_lines: int) -> None:
    """Show nothing."""


def _print(lines: Iterator[str | None], file: TextIO, advance: Callable[[int], None] = _unseen) -> int:
    """Write lines; returns how many damaged chunks there were between them."""
    damaged = 0
    for line in lines:
        advance(1)
        if line is None:
            damaged += 1
        else:
            file.write(f"{line}\n")
    return damaged


def _end(damaged: int) -> None:
    if damaged:
        sys.exit(1)
