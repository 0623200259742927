"""`waystation completion`."""

from __future__ import annotations

import click

SHELLS = ("bash", "fish", "zsh")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands in a shell, their options and lanes too.

    bash: eval "$(waystation completion bash)" in ~/.bashrc.

    zsh: eval "$(waystation completion zsh)" in ~/.zshrc.

    fish: waystation completion fish > ~/.config/fish/completions/waystation.fish
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - for this command alone

    kind = get_completion_class(shell)
    if kind is None:
        raise AssertionError(shell)
    root = context.find_root()
    # click's own `source` would start the shell to ask for its version.
    complete = kind(root.command, {}, "waystation", "_WAYSTATION_COMPLETE")
    click.echo(complete.source_template % complete.source_vars())
