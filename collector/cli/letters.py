"""`waystation dead-letters list | show | replay | export | purge`."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from collector.cli.options import complete_lane, config_option
from collector.cli.progress import bar
from collector.errors import UsageError, WaystationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from collector.cli.letters_source import Source
    from collector.spool.letters import Choice, Letter

all_option = click.option("--all", "everything", is_flag=True, help="All of them.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
lane_option = click.option(
    "--lane",
    metavar="LANE",
    shell_complete=complete_lane,
    help="Those of one lane alone, as `status` names it.",
)


@click.group()
def dead_letters() -> None:
    """See, replay, export and purge what upstreams refused.

    A dead letter is an event that its upstream refused for what it is, kept with the reason.
    """


@dead_letters.command("list")
@lane_option
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Show so many at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
@config_option
def list_letters(config_path: Path | None, lane: str | None, limit: int, *, as_json: bool) -> None:
    """List them, the oldest first."""
    import msgspec  # noqa: PLC0415 - other commands must not pay for these

    from collector.cli.letters_table import show  # noqa: PLC0415

    with _source(config_path) as source:
        found: list[Letter] = []
        more = False
        for letter in source.letters(lane=lane):
            if len(found) == limit:
                more = True
                break
            found.append(letter)
    if as_json:
        for letter in found:
            click.echo(msgspec.json.encode(letter))
        return
    show(found, more=more)


@dead_letters.command()
@click.argument("number", type=click.IntRange(1))
@config_option
def show(config_path: Path | None, number: int) -> None:
    """Show one with its event, as one JSON document."""
    import msgspec  # noqa: PLC0415

    with _source(config_path) as source:
        letter = next(iter(source.letters(number=number, events=True)), None)
    if letter is None:
        raise WaystationError(f"there is no dead letter {number}; `waystation dead-letters list` shows them")
    click.echo(msgspec.json.format(msgspec.json.encode(letter), indent=2))


@dead_letters.command()
@lane_option
@config_option
def export(config_path: Path | None, lane: str | None) -> None:
    """Print them with their events as NDJSON, the oldest first."""
    import msgspec  # noqa: PLC0415

    from collector.core.ndjson import in_a_line  # noqa: PLC0415

    with ExitStack() as stack:
        source = stack.enter_context(_source(config_path))
        advance = None if sys.stdout.isatty() else stack.enter_context(bar("exporting", None))
        for letter in source.letters(lane=lane, events=True):
            click.echo(in_a_line(msgspec.json.encode(letter)))
            if advance is not None:
                advance(1)


@dead_letters.command()
@click.argument("numbers", nargs=-1, type=click.IntRange(1), metavar="[NUMBER]...")
@lane_option
@all_option
@yes_option
@config_option
def replay(
    config_path: Path | None, numbers: tuple[int, ...], lane: str | None, *, everything: bool, yes: bool
) -> None:
    """Send them once more: they are pending events again, behind what waits already."""
    choice = _choice(numbers, lane, everything=everything)
    with _source(config_path) as source:
        if choice.ids is None:
            _confirm(f"Replay {_described(choice)}?", yes=yes)
        with source.watched("replaying", choice):
            done = source.replay(choice)
    click.echo(f"replayed {_letters(done.replayed)}")
    if done.damaged:
        click.echo(f"kept {_letters(done.damaged)}: what is left of damaged chunks cannot be replayed")
    if done.away:
        click.echo(f"kept {_letters(done.away)}: their upstream is not configured, or does not take them")
    _tell_missing(choice, done.replayed + done.damaged + done.away)


@dead_letters.command()
@click.argument("numbers", nargs=-1, type=click.IntRange(1), metavar="[NUMBER]...")
@lane_option
@all_option
@yes_option
@config_option
def purge(
    config_path: Path | None, numbers: tuple[int, ...], lane: str | None, *, everything: bool, yes: bool
) -> None:
    """Delete them for good. The ledger goes on counting them as dead."""
    choice = _choice(numbers, lane, everything=everything)
    with _source(config_path) as source:
        _confirm(f"Delete {_described(choice)} for good?", yes=yes)
        purged = source.purge(choice)
    click.echo(f"purged {_letters(purged)}")
    _tell_missing(choice, purged)


def _source(config_path: Path | None) -> Source:
    from collector.cli.letters_source import Source  # noqa: PLC0415
    from collector.cli.status_source import reach  # noqa: PLC0415

    config, _ = reach(config_path, os.environ)
    return Source(config)


def _choice(numbers: Sequence[int], lane: str | None, *, everything: bool) -> Choice:
    from collector.spool.letters import MAX_IDS, Choice  # noqa: PLC0415

    if len(numbers) > MAX_IDS:
        raise UsageError(f"at most {MAX_IDS} numbers at once; --lane and --all take any number")
    try:
        return Choice(ids=tuple(sorted(set(numbers))) if numbers else None, lane=lane, all=everything)
    except ValueError:
        raise UsageError("say which: give numbers, --lane LANE or --all") from None


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("there is nobody to ask; give --yes")
    click.confirm(question, abort=True)


def _described(choice: Choice) -> str:
    if choice.ids is not None:
        return _letters(len(choice.ids))
    return f"all dead letters of {choice.lane}" if choice.lane is not None else "all dead letters"


def _letters(count: int) -> str:
    return "1 dead letter" if count == 1 else f"{count:,} dead letters"


def _tell_missing(choice: Choice, found: int) -> None:
    missing = len(choice.ids or ()) - found
    if missing > 0:
        raise WaystationError(
            f"{_letters(missing)} of those named {'is' if missing == 1 else 'are'} not there"
        )
