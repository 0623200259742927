"""From a TOML tree to the model, noting everything that does not fit.

msgspec's own conversion stops at the first error, so this one walks the model's types
(`msgspec.inspect`) by itself. Where a value is at fault, a harmless one takes its place,
so that what depends on the others can still be checked.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec.inspect as mi

from collector.config.findings import shown
from collector.config.units import (
    format_duration,
    format_size,
    parse_duration,
    parse_mode,
    parse_size,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.config.findings import Findings
    from collector.config.positions import KeyPath

_TABLES = "an array of tables"
_MAX_INTEGER = 2**53
"""Beyond this JSON readers and SQLite lose digits; no size or count here comes near it."""


def unwrap(kind: mi.Type) -> tuple[mi.Type, dict[str, object]]:
    """A type without its notes and without None, and those notes."""
    if isinstance(kind, mi.UnionType):
        return unwrap(next(inner for inner in kind.types if not isinstance(inner, mi.NoneType)))
    if isinstance(kind, mi.Metadata):
        inner, notes = unwrap(kind.type)
        return inner, {**(kind.extra or {}), **notes}
    return kind, {}


class Converter:
    """Makes model values out of TOML values.

    Args:
        findings: takes what is wrong.
        base: directory that relative paths of the first file start from.
        home: directory that `~/` stands for.
    """

    def __init__(self, findings: Findings, *, base: Path, home: Path) -> None:
        self._findings = findings
        self._base = base
        self._home = home

    def struct(self, kind: mi.StructType, tree: Mapping[str, object], path: KeyPath) -> object:
        """A Struct of the model from a TOML table."""
        names = [field.encode_name for field in kind.fields]
        for key in tree:
            if key not in names:
                self._findings.add((*path, key), found="an unknown key", expected=_closest(key, names))
        values: dict[str, object] = {}
        for field in kind.fields:
            name = field.encode_name
            here = (*path, name)
            if name in tree:
                converted = self._value(field.type, tree[name], here)
                if converted is not None:
                    values[name] = converted
            elif field.required:
                self._findings.add(here, found="nothing", expected=expected(field.type))
            if field.required and name not in values:
                values[name] = _stand_in(field.type)
        return cast("object", kind.cls(**values))

    def _value(self, annotated: mi.Type, raw: object, path: KeyPath) -> object | None:
        """The value, or None where it is at fault."""
        kind, notes = unwrap(annotated)
        if isinstance(kind, mi.StructType):
            if isinstance(raw, dict):
                return self.struct(kind, raw, path)
        elif isinstance(kind, mi.VarTupleType):
            if isinstance(raw, list):
                items = [self._value(kind.item_type, item, (*path, index)) for index, item in enumerate(raw)]
                if None in items:
                    # What follows the one left out would be looked for in its place.
                    self._findings.distrust(path)
                return tuple(item for item in items if item is not None)
        elif isinstance(kind, mi.DictType):
            if isinstance(raw, dict):
                return self._table(kind, notes, raw, path)
        else:
            converted = self._scalar(kind, notes, raw, path)
            if converted is not None:
                return converted
        wanted = expected(annotated)
        if isinstance(kind, mi.VarTupleType) and wanted == _TABLES:
            wanted = f"{_TABLES}, each begun by [[{path[-1]}]]"
        self._findings.add(path, found=shown(raw, secret=bool(notes.get("secret"))), expected=wanted)
        return None

    def _table(
        self, kind: mi.DictType, notes: Mapping[str, object], raw: Mapping[str, object], path: KeyPath
    ) -> object | None:
        """A table whose keys are the operator's own."""
        most = kind.max_length
        if most is not None and len(raw) > most:
            self._findings.add(path, found=f"{len(raw)} of them", expected=f"at most {most}")
            return None
        values: dict[str, object] = {}
        for key, item in raw.items():
            here = (*path, key)
            if self._scalar(unwrap(kind.key_type)[0], notes, key, here) is None:
                self._findings.add(here, found=shown(key), expected=f"as its name {expected(kind.key_type)}")
                continue
            value = self._value(kind.value_type, item, here)
            if value is not None:
                values[key] = value
        return values

    def _scalar(
        self, kind: mi.Type, notes: Mapping[str, object], raw: object, path: KeyPath
    ) -> object | None:
        if isinstance(kind, mi.BoolType):
            return raw if isinstance(raw, bool) else None
        if isinstance(kind, mi.LiteralType):
            return raw if isinstance(raw, str) and raw in kind.values else None
        if isinstance(kind, mi.StrType):
            return self._text(kind, notes, raw, path) if isinstance(raw, str) else None
        if isinstance(kind, mi.IntType | mi.FloatType):
            return _number(kind, notes.get("unit"), raw)
        raise TypeError(f"the model holds a {kind}, which TOML values are not converted to")

    def _text(self, kind: mi.StrType, notes: Mapping[str, object], raw: str, path: KeyPath) -> str | None:
        if kind.pattern is not None and re.search(kind.pattern, raw) is None:
            return None
        if kind.pattern is not None and raw.endswith("\n"):
            return None  # `$` matches before a line break at the end
        if notes.get("unit") != "path":
            return raw
        if not raw or not raw.isprintable():
            return None  # among others a key pasted in the place of its file's name
        relative = self._home / raw[2:] if raw.startswith("~/") else Path(raw)
        file = self._findings.file_of(path)
        base = self._base if file == self._findings.file else Path(file).parent
        return str(base / relative)


def _number(kind: mi.IntType | mi.FloatType, unit: object, raw: object) -> int | float | None:
    number = _parse_unit(unit, raw) if isinstance(raw, str) else raw
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    if not abs(number) <= _MAX_INTEGER:
        return None  # that goes for inf, and for nan, which is not below anything
    if unit == "mode" and not isinstance(raw, str):
        return None  # 660 and 0o660 differ: only the string says which is meant
    if isinstance(kind, mi.IntType):
        if not isinstance(number, int):
            return None
    else:
        number = round(float(number), 9) if unit == "duration" else float(number)
    inside = (
        (kind.ge is None or number >= kind.ge)
        and (kind.gt is None or number > kind.gt)
        and (kind.le is None or number <= kind.le)
        and (kind.lt is None or number < kind.lt)
    )
    return number if inside else None


def _parse_unit(unit: object, text: str) -> int | float | None:
    try:
        if unit == "size":
            return parse_size(text)
        if unit == "duration":
            return parse_duration(text)
        if unit == "mode":
            return parse_mode(text)
    except ValueError:
        return None
    return None


def expected(annotated: mi.Type) -> str:
    """What a type accepts, in words."""
    kind, notes = unwrap(annotated)
    if "expected" in notes:
        return str(notes["expected"])
    if isinstance(kind, mi.VarTupleType):
        inner, _ = unwrap(kind.item_type)
        tables = isinstance(inner, mi.StructType)
        return _TABLES if tables else f"an array, each {expected(kind.item_type)}"
    if isinstance(kind, mi.LiteralType):
        return "one of " + ", ".join(f'"{value}"' for value in kind.values)
    if isinstance(kind, mi.IntType | mi.FloatType):
        return _expected_number(kind, notes.get("unit"))
    plain = {mi.StructType: "a table", mi.DictType: "a table", mi.BoolType: "true or false"}
    return plain.get(type(kind), "a path" if notes.get("unit") == "path" else "a string")


def _expected_number(kind: mi.IntType | mi.FloatType, unit: object) -> str:
    if unit == "mode":
        return 'an octal string such as "0660"'
    words = {"size": 'a size such as "512MiB"', "duration": 'a duration such as "30s"'}.get(
        str(unit), "an integer" if isinstance(kind, mi.IntType) else "a number"
    )
    bounds = [
        f"{relation} {_bound(bound, unit)}"
        for relation, bound in (("above", kind.gt), ("at least", kind.ge), ("at most", kind.le))
        if bound is not None
    ]
    return f"{words}, {' and '.join(bounds)}" if bounds else words


def _bound(bound: float, unit: object) -> str:
    if unit == "size":
        return format_size(int(bound))
    return format_duration(bound) if unit == "duration" else str(bound)


def _closest(key: str, names: list[str]) -> str:
    close = get_close_matches(key.lower(), names, n=1)
    return f"{close[0]} (did you mean that?)" if close else f"one of {', '.join(names)}"


def _stand_in(annotated: mi.Type) -> object:
    """What takes the place of a required value that is at fault."""
    kind, _ = unwrap(annotated)
    return kind.values[0] if isinstance(kind, mi.LiteralType) else ""
