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

ASK_SECONDS = 10.0


@click.command("open")
@config_option
@click.option("--print", "only_print", is_flag=True, help="Print the link, and open nothing.")
def open_page(config_path: Path | None, *, only_print: bool) -> None:
    """Open the status page in a browser.

    Prints a link to it, which works once and for five minutes, and opens it where there is a screen.
    Whoever has the link may see the page and replay dead letters.
    """
    from collector.config.load import load  # noqa: PLC0415 - other commands must not pay for it

    url = _link(load(config_path, dict(os.environ), read_secrets=False))
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
    from collector.cli.http_post import Target, post  # noqa: PLC0415
    from collector.config.model import UnixAddress  # noqa: PLC0415

    silence = "there is no admin socket"
    for address in config.admin.addresses:
        if not isinstance(address, UnixAddress) or not os.path.lexists(address.path):
            continue
        try:
            target = Target(name=address.path, unix_path=address.path, path=OPEN)
            reply = post(target, b"", {}, timeout=ASK_SECONDS)
        except DaemonUnavailable as error:
            silence = str(error)
            continue
        try:
            if reply.status == 200:  # noqa: PLR2004 (OK)
                return msgspec.json.decode(reply.body, type=Opened).url
            reason = msgspec.json.decode(reply.body, type=dict[str, object])["message"]
        except (msgspec.DecodeError, KeyError):
            raise DaemonUnavailable(
                f"what answers at {address.path} (http {reply.status}) is no daemon of this release"
            ) from None
        raise WaystationError(str(reason))
    raise DaemonUnavailable(f"no daemon answers: {silence}; start it with `waystation run`")
