"""An allowance: so much at once, and as much again over a period. Time is an argument."""

from __future__ import annotations

MAX_HOLDERS = 1000
"""Holders that are remembered; beyond, those whose allowance is whole again are forgotten first."""


class Allowances:
    """What each holder has left.

    Args:
        amount: what each may use at once, and again over `period`.
        period: seconds.
    """

    def __init__(self, amount: float, period: float) -> None:
        self._amount = amount
        self._rate = amount / period
        self._used: dict[int | None, tuple[float, float]] = {}  # what was used, and when that was so

    def take(self, holder: int | None, wanted: float, now: float) -> float:
        """Use some of it, all or nothing.

        Returns:
            0, or the seconds until there is so much; for more than there ever is, until it is whole.
        """
        used, since = self._used.get(holder, (0.0, now))
        used = max(0.0, used - (now - since) * self._rate)
        over = used + min(wanted, self._amount) - self._amount
        if over > 0:
            return over / self._rate
        if holder not in self._used and len(self._used) >= MAX_HOLDERS:
            self._forget(now)
        self._used[holder] = (used + wanted, now)
        return 0.0

    def _forget(self, now: float) -> None:
        self._used = {
            holder: (used, since)
            for holder, (used, since) in self._used.items()
            if used > (now - since) * self._rate
        }
        while len(self._used) >= MAX_HOLDERS:
            self._used.pop(next(iter(self._used)))
