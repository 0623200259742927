"""What a connection waits for; each phase has its own patience, see `connection`."""

from __future__ import annotations

IDLE, RECEIVING, ANSWERING, SENDING, LEAVING, PARKED = range(6)
