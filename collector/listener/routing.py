"""Finding the endpoint of a request, and asking it and the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.core.http import Answer, error_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.listener.routes import Endpoint, Request, Site

NOT_FOUND = error_answer(404, "Not found")


def route(site: Site, head: Request) -> tuple[Endpoint | None, Answer | None]:
    """The endpoint that a request is for, and a refusal by the head alone; the order is the dialects'."""
    if head.path == "*" and head.method == "OPTIONS":  # of the server as a whole: RFC 9110, section 9.3.7
        every = {name: endpoint for methods in site.routes.values() for name, endpoint in methods.items()}
        return None, site.gate.refuse(head) or site.gate.preflight(head, _allow(every))
    methods = site.methods(head.path)
    if methods is None:
        return None, NOT_FOUND
    endpoint = methods.get(head.method)
    if endpoint is None and head.method == "HEAD":
        endpoint = methods.get("GET")
    if endpoint is None and head.method != "OPTIONS":
        allow = _allow(methods)
        return None, error_answer(405, f"Method not allowed; use {allow}", headers=(("Allow", allow),))
    refusal = site.gate.refuse(head)
    if refusal is not None:
        return endpoint, refusal
    if endpoint is None:
        return None, site.gate.preflight(head, _allow(methods))
    return endpoint, endpoint.admit(head)


def _allow(methods: Mapping[str, Endpoint]) -> str:
    names = dict.fromkeys(methods)
    if "GET" in names:
        names["HEAD"] = None
    names["OPTIONS"] = None
    return ", ".join(names)
