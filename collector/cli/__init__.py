"""The commands. Each is imported only when it is run: `send` must start at once."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

import collector

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True)
class Entry:
    """A command that is not imported yet.

    Attributes:
        target: `module:attribute` of its `click.Command`.
        summary: the first line of its help.
    """

    target: str
    summary: str


COMMANDS = {
    "run": Entry("collector.cli.run:run", "Run the daemon in the foreground."),
    "demo": Entry("collector.cli.demo:demo", "Show events going all the way through, on this machine."),
    "send": Entry("collector.cli.send:send", "Hand events over to the daemon."),
    "status": Entry("collector.cli.status:status", "Show listeners, lanes, backlog and the ledger."),
    "tail": Entry("collector.cli.tail:tail", "Show events as they are accepted and delivered."),
    "top": Entry("collector.cli.top:top", "Show how fast events come and go."),
    "drain": Entry("collector.cli.drain:drain", "Have the daemon send at once what waits."),
    "ledger": Entry("collector.cli.ledger:ledger", "Tell what became of a day's events."),
    "open": Entry("collector.cli.open:open_page", "Open the status page in a browser."),
    "spool": Entry("collector.cli.spool:spool", "Look inside the spool."),
    "doctor": Entry("collector.cli.doctor:doctor", "Check everything, and say what to do."),
    "dead-letters": Entry(
        "collector.cli.letters:dead_letters", "See, replay, export and purge what upstreams refused."
    ),
    "upstream": Entry(
        "collector.cli.upstream:upstream", "See and steer upstreams, through the running daemon."
    ),
    "service": Entry(
        "collector.cli.service:service", "Install the daemon as a service, start, stop and watch it."
    ),
    "config": Entry("collector.cli.config:config", "Check and show the configuration."),
    "support-bundle": Entry(
        "collector.cli.bundle:support_bundle", "Gather what helps from afar, without secrets or events."
    ),
    "completion": Entry(
        "collector.cli.completion:completion",
        "Print the script that completes commands in a shell.",
    ),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and summary until one is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command.

        Raises:
            TypeError: the table names something else.
        """
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command: object = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.target} is not a command")
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """The commands and options that begin so, without importing any."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - for completion alone

        commands = [
            CompletionItem(name, help=entry.summary)
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.group(
    cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(collector.__version__, prog_name="waystation", message="%(prog)s %(version)s")
@click.pass_context
def waystation(context: click.Context) -> None:
    """Take events on this device, keep them on disk, and forward them upstream.

    Exit codes are those of sysexits.h: 64 wrong usage, 69 no daemon, 70 a bug, 78 a
    configuration that cannot be used. WAYSTATION_DEBUG=1 shows the traceback of a bug.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
