"""Every limit that the code names is a key of the configuration, or documented, or nobody's business."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

from collector import listener
from collector.config import limits as keys
from collector.core import gzip, limits

DOCUMENT = Path(__file__).parents[3] / "docs/protocol.md"

FIXED = {
    "RATIO_FREE_BYTES": "1 MiB is always allowed",
    "SMALL_BODY_BYTES": "bodies over 64 KiB",
    "SWEEP_INTERVAL": "how late a time-out may be | 1 s",
    "LAST_WORDS_TIMEOUT": "0.5 s for last words",
    "FRESH_SECONDS": "0.5 s to ask something",
    "ACCEPT_RETRY": "each 0.1 s",
    "MAX_WAITING_CONNECTIONS": "until a connection ends | 4,096",
    "ACCEPT_AT_ONCE": "at most 64 in",
    "TURN_AWAY_INTERVAL": "in 0.05 s",
    "RETRY_AFTER": "else 5 s",
    "RETRY_AFTER_FULL": "30 s where the spool is full",
    "RETRY_AFTER_UNAVAILABLE": "else 5 s",
    "PREFLIGHT_MAX_AGE": "600 s",
    "MAX_USERS": "counted by themselves in metrics | 1,000",
    "_MAX_GROUPS": "sees | 256",
    "MAX_UNIX_PATH": "107 bytes, 103 on macOS",
}
"""What a client or an operator can run into and cannot configure, and how it is documented."""

INTERNAL = {
    "KIB": "a unit",
    "MIB": "a unit",
    "RECEIVE_BYTES": "one read; nothing is refused for it",
    "ANSWERS_BYTES": "one send; nothing is refused for it",
    "SCRAP_BYTES": "how small parts of a body are kept; nothing is refused for it",
    "CLEAR_INTERVAL": "how often room is made",
    "INLINE_BYTES": "where a body is looked at",
    "QUICK_BYTES": "where a body is looked at",
    "AT_ONCE": "sockets that are looked at in one go",
    "_LOCK_TRIES": "of a start",
    "_LOCK_PAUSE": "of a start",
    "MAX_HEADS": "of a cache",
    "MAX_HEAD_BYTES": "of a cache, in `heads`; the limit of that name is a key",
    "_LENGTH_DIGITS": "of a cache",
    "_MAX_NAMES": "of a cache",
    "_MAX_NAME": "of a cache",
    "_MAX_KNOWN": "of a cache",
    "_MAX_KEY": "of a cache",
    "_MAX_STOCK": "of a cache",
    "_MAX_STOCK_BODY": "of a cache",
    "OTHERS": "a name",
    "_GZIP": "a format",
    "_SO_PEERGROUPS": "a name",
    "_SOL_LOCAL": "a name",
    "_LOCAL_PEERCRED": "a name",
    "_LOCAL_PEERPID": "a name",
    "_XUCRED_VERSION": "a format",
    **dict.fromkeys(("CLOSE", "BODYLESS", "OLD"), "a flag"),
    **dict.fromkeys(
        ("IDLE", "RECEIVING", "ANSWERING", "SENDING", "LEAVING", "PARKED", "WAITING", "STREAMING"), "a phase"
    ),
}


def constants():
    names = [f"collector.listener.{module.name}" for module in pkgutil.iter_modules(listener.__path__)]
    for module in (limits, gzip, *map(importlib.import_module, names)):
        own = re.findall(r"^(_?[A-Z][A-Z0-9_]*)\b.*? = ", Path(module.__file__).read_text(), re.MULTILINE)
        more = re.findall(r"^(_?[A-Z][A-Z0-9_, ]*) = ", Path(module.__file__).read_text(), re.MULTILINE)
        for name in {*own, *(part.strip() for line in more for part in line.split(","))}:
            if isinstance(value := getattr(module, name, None), int | float) and not isinstance(value, bool):
                yield name, value


def test_every_number_in_the_code_is_a_key_or_documented_or_nobodys_business():
    defaults = {
        name
        for name, value in constants()
        if hasattr(limits, name) and f"limits.{name}" in Path(keys.__file__).read_text()
    }
    names = {name for name, _ in constants()}
    assert not names - defaults - FIXED.keys() - INTERNAL.keys()
    assert not (FIXED.keys() | INTERNAL.keys()) - names
    missing = [words for words in FIXED.values() if words not in DOCUMENT.read_text()]
    assert not missing
