"""What to do about a lane that does not deliver, by its state and the reason that it tells.

The reasons are those of `core.verdict`, `forwarder.narrowing`, `forwarder.standing` and `spool.overview`.
What is not known gets what its state says.
"""

from __future__ import annotations

import re

from collector.spool.overview import DIALECT_LEFT, PRODUCT_LEFT

_ON_ITS_OWN = "Events are kept, and it goes on by itself."
_TEST = "`waystation upstream test {upstream}` shows what it says."

_BY_STATE = {
    "new": "Nothing to do: its first events are on their way.",
    "healthy": "Nothing to do.",
    "narrowing": "Nothing to do: smaller batches find out what the upstream refuses; the rest is delivered.",
    "retrying": f"Nothing to do yet: the upstream cannot take events now. {_ON_ITS_OWN}",
    "waiting": f"Nothing to do: one lane of the upstream probes for all. {_ON_ITS_OWN}",
    "blocked": (
        f"Put right what the reason says, and reload the daemon. {_TEST} It tries now and then by itself."
    ),
    "paused": (
        "It was paused by an operator. Resume it when the upstream may have events again:"
        " `waystation upstream resume {upstream}`."
    ),
    "orphaned": "Its upstream is not in the configuration any more. Put it back, or let its events age out.",
}

_BY_REASON = (
    (
        r"captive portal|http 511",
        "Sign in to the network, which answers for the upstream; or the url of this upstream is wrong.",
    ),
    (
        r"http 40[13]\b",
        f"Check this upstream's key, and whether it knows this device. {_TEST} Then reload the daemon.",
    ),
    (
        r"http 4(?:04|05|10)\b|redirects are not followed",
        f"Check the url of this upstream. {_TEST} Then reload the daemon.",
    ),
    (
        r"no trust in the connection",
        "Check this device's clock, and the certificates on both sides. Then reload the daemon.",
    ),
    (r"the proxy ", "Check the proxy, and what the configuration says of it."),
    (r"over reject_limit", "The upstream refuses what the apps send: one of them must be put right first."),
    (
        r"for this one event",
        "The upstream fails on one event, again and again. Put it right, or give it up (upstream bury).",
    ),
    (
        r"a defect of Waystation|the spool (?:contradicts itself|fails)",
        "The log says more. Restart the daemon, and report it if it comes back.",
    ),
    (
        r"cannot connect|timed out",
        f"Check this device's network. If it is well, the upstream is down. {_ON_ITS_OWN}",
    ),
    (r"http (?:429|5\d\d)", f"Nothing to do here: the upstream is overloaded or down. {_ON_ITS_OWN}"),
    (r"No space left|Disk quota", "Make room on the disk. It goes on by itself."),
    (
        PRODUCT_LEFT,
        "Its product is not in the configuration any more. Put it back, or let its events age out.",
    ),
    (
        DIALECT_LEFT,
        "Its upstream takes its dialect no longer. Change that back, or let its events age out.",
    ),
)

_PATTERNS = tuple((re.compile(pattern), text) for pattern, text in _BY_REASON)


def advice(state: str, reason: str, upstream: str) -> str:
    """A sentence or two for whoever stands before the screen."""
    said = _BY_STATE.get(state, "")
    if state in {"retrying", "waiting", "blocked", "orphaned"}:
        said = next((text for pattern, text in _PATTERNS if pattern.search(reason)), said)
    return said.replace("{upstream}", upstream)
