"""Which proxy leads to an upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # typeshed lacks it

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_PROXY = "none"
"""What `proxy` says where there is to be none, whatever the environment says."""


def proxy_for(url: str, *, configured: str | None, environ: Mapping[str, str]) -> str | None:
    """The proxy's URL; None to go straight there.

    Args:
        url: the upstream's.
        configured: its key `proxy`.
        environ: of the process: `https_proxy` or `http_proxy` by the upstream's scheme, else
            `all_proxy`, unless `no_proxy` has the host; in small letters or capitals.
    """
    if configured is not None:
        return None if configured == NO_PROXY else configured
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None  # whoever uses the url says what is wrong with it
    proxy = _variable(f"{parts.scheme}_proxy", environ) or _variable("all_proxy", environ)
    if not proxy:
        return None
    exempt = _variable("no_proxy", environ)
    host = parts.hostname or ""
    if exempt and proxy_bypass_environment(f"{host}:{port}" if port else host, {"no": exempt}):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(name: str, environ: Mapping[str, str]) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""
