"""What a check of the doctor's found."""

from __future__ import annotations

from typing import Literal

import msgspec


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found.

    Attributes:
        found: the state of things.
        advice: what to do; empty where there is nothing to be done.
    """

    name: str
    result: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f" -> {self.advice}" if self.advice else ""
        return f"{self.result:<4}  {self.name}: {self.found}{advice}"


def ok(name: str, found: str) -> Check:
    """All is well."""
    return Check(name=name, result="ok", found=found)


def warn(name: str, found: str, advice: str) -> Check:
    """Nothing is lost by it for now."""
    return Check(name=name, result="warn", found=found, advice=advice)


def fail(name: str, found: str, advice: str) -> Check:
    """Something must be done."""
    return Check(name=name, result="fail", found=found, advice=advice)
