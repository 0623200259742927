"""What the admin listener's answers have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.core.http import error_answer
from collector.errors import SpoolUnavailable

if TYPE_CHECKING:
    import sqlite3

    from collector.core.http import Answer

UNSAVED = (("Cache-Control", "no-store"),)
"""Headers of what is so at one moment only."""


def unusable(error: SpoolUnavailable | sqlite3.Error) -> Answer:
    """503 for a spool that cannot be used, or not be read, now."""
    if isinstance(error, SpoolUnavailable):
        return error_answer(503, str(error))
    return error_answer(503, f"the spool cannot be read: {error}", headers=(("Retry-After", "1"),))
