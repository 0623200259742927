"""`waystation open`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from collector.cli.options import config_option
from collector.errors import DaemonUnavailable, WaystationError

if TYPE_CHECKING:
    from pathlib import Path

    from collector.config.model import Config


@click.command("open")
@config_option
@click.option("--print", "only_print", is_flag=True, help="Print the link, and open nothing.")
def open_page(config_path: Path | None, *, only_print: bool) -> None:
    """Open the status page in a browser.

    Prints a link to it, which works once and for five minutes, and opens it where there is a screen.
    Whoever has the link may see the page and replay dead letters.
    """
    from collector.cli.status_source import reach  # noqa: PLC0415 - other commands must not pay for it

    url = _link(reach(config_path, os.environ)[0])
    click.echo(url)
    if not only_print and _has_screen():
        import webbrowser  # noqa: PLC0415

        webbrowser.open(url)


def _has_screen() -> bool:
    return sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )


def _link(config: Config) -> str:
    """Ask the running daemon for a link.

    Raises:
        DaemonUnavailable: none answers over the admin socket.
        WaystationError: it has no page to show; the text says why.
    """
    import msgspec  # noqa: PLC0415

    from collector.admin.page import OPEN, Opened  # noqa: PLC0415
    from collector.cli.admin_socket import GLANCE_SECONDS, exchange, stranger, told  # noqa: PLC0415

    try:
        reply = exchange(config, OPEN, body=b"", timeout=GLANCE_SECONDS)
    except DaemonUnavailable as silence:
        raise DaemonUnavailable(f"no daemon answers: {silence}; start it with `waystation run`") from None
    if reply.status != 200:  # noqa: PLR2004 (OK)
        refusal = told(reply)
        raise WaystationError(refusal) if refusal else stranger(reply)
    try:
        return msgspec.json.decode(reply.body, type=Opened).url
    except msgspec.DecodeError:
        raise stranger(reply) from None
