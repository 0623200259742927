"""Single values from environment variables.

`WAYSTATION_SPOOL__MAX_BYTES` is `spool.max_bytes`: two underscores go one table down, a
number counts the elements of an array of tables. An array of plain values is separated
by commas, or written as TOML. An empty variable counts as one that is not set.
"""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec.inspect as mi

from collector.config.convert import unwrap
from collector.config.findings import PREFIX, variable_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collector.config.findings import Findings
    from collector.config.positions import KeyPath

CONTROLS = frozenset({"WAYSTATION_CONFIG", "WAYSTATION_SOCKET", "WAYSTATION_DEBUG"})
"""Variables that steer the commands and are no part of the configuration."""


_INDEX = re.compile("[0-9]{1,6}")
_NAMING_KEYS = ("secret_env", "key_env", "next_secret_env", "token_env")


class Variables:
    """The process's `WAYSTATION_*` variables, as they bear on a TOML tree.

    Args:
        root: the model's type.
        environ: of the process.
        tree: the file's; values are put into it.
    """

    def __init__(self, root: mi.StructType, environ: Mapping[str, str], tree: dict[str, object]) -> None:
        self._root = root
        self._tree = tree
        self._set: dict[KeyPath, tuple[str, str]] = {}
        secrets = _secret_names(tree, environ)
        for name, text in environ.items():
            if name.startswith(PREFIX) and text and name not in CONTROLS and name not in secrets:
                self._set[_path(name)] = (name, text)

    def apply(self, overrides: dict[KeyPath, str], findings: Findings) -> None:
        """Put each value into the tree.

        Args:
            overrides: takes the variable behind each value and each table made for one.
            findings: takes what is wrong.
        """
        # Numbers before names and in their order, so that arrays grow from their start.
        in_order = sorted(
            self._set, key=lambda path: [(isinstance(part, str), str(part).zfill(9)) for part in path]
        )
        for path in in_order:
            name, text = self._set[path]
            kind = self._kind(path)
            if kind is None:
                overrides[path] = name
                findings.add(path, found="an unknown variable", expected=self._hint(path))
            else:
                self._put(path, _from_text(kind, text), overrides, findings)

    def _hint(self, path: KeyPath) -> str:
        # Without the prefix, which would make every name like every other.
        known = sorted(name.removeprefix(PREFIX) for name in _names(self._root, path))
        close = get_close_matches(variable_name(path).removeprefix(PREFIX), known, n=1)
        return f"{PREFIX}{close[0]} (did you mean that?)" if close else "the name of a key, or none"

    def _kind(self, path: KeyPath) -> mi.Type | None:
        """The type of the single value at a path; None where there is none such."""
        kind: mi.Type = self._root
        for part in path:
            kind, _ = unwrap(kind)
            if isinstance(part, int):
                if not isinstance(kind, mi.VarTupleType):
                    return None
                kind = kind.item_type
            elif isinstance(kind, mi.DictType):
                kind = kind.value_type
            else:
                fields = {field.encode_name: field.type for field in _fields(kind)}
                if part not in fields:
                    return None
                kind = fields[part]
        inner, _ = unwrap(kind)
        item = unwrap(inner.item_type)[0] if isinstance(inner, mi.VarTupleType) else inner
        return None if isinstance(item, mi.StructType | mi.DictType) else kind

    def _put(self, path: KeyPath, value: object, overrides: dict[KeyPath, str], findings: Findings) -> None:
        name = self._set[path][0]
        place: object = self._tree
        for depth, (part, after) in enumerate(pairwise(path), start=1):
            if isinstance(after, int) and isinstance(place, dict):
                elements = place.get(str(part), [])
                if isinstance(elements, list) and after > len(elements):
                    overrides[path] = name
                    findings.add(path, found=f"the number {after}", expected=f"at most {len(elements)}")
                    return
            place, made = _go_down(place, part, [] if isinstance(after, int) else {})
            if made:
                overrides[path[:depth]] = name
        if isinstance(place, dict) and isinstance(path[-1], str):
            place[path[-1]] = value
            overrides[path] = name


def _go_down(place: object, part: str | int, empty: object) -> tuple[object, bool]:
    """What a part of a path leads to, and whether it had to be made."""
    if isinstance(place, dict):
        made = part not in place
        return place.setdefault(part, empty), made
    if isinstance(place, list) and isinstance(part, int):
        made = part == len(place)
        if made:
            place.append(empty)
        return place[part], made
    return place, False


def _path(name: str) -> KeyPath:
    parts = name.removeprefix(PREFIX).lower().split("__")
    return tuple(int(part) if _INDEX.fullmatch(part) else part for part in parts)


def _fields(kind: mi.Type) -> tuple[mi.Field, ...]:
    return kind.fields if isinstance(kind, mi.StructType) else ()


def _names(kind: mi.StructType, like: KeyPath, path: KeyPath = ()) -> Iterator[str]:
    """The names of all variables, with the numbers of a path that is like them."""
    for field in kind.fields:
        here = (*path, field.encode_name)
        inner, _ = unwrap(field.type)
        if isinstance(inner, mi.VarTupleType) and isinstance(
            item := unwrap(inner.item_type)[0], mi.StructType
        ):
            number = next((part for part in like if isinstance(part, int)), 0)
            yield from _names(item, like, (*here, number))
        elif isinstance(inner, mi.StructType):
            yield from _names(inner, like, here)
        else:
            yield variable_name(here)


def _secret_names(tree: Mapping[str, object], environ: Mapping[str, str]) -> set[str]:
    """The variables that hold secrets, named by the file or by another variable."""
    names = {
        text
        for name, text in environ.items()
        if name.startswith(PREFIX) and name.endswith(("SECRET_ENV", "__KEY_ENV", "__TOKEN_ENV"))
    }
    admin = tree.get("admin")
    if isinstance(admin, dict):
        names.add(str(admin.get("token_env")))
    for array in (tree.get("product"), tree.get("upstream"), tree.get("listener")):
        for table in array if isinstance(array, list) else ():
            if isinstance(table, dict):
                following = table.get("next")
                for keys in (table, following if isinstance(following, dict) else {}):
                    names.update(str(keys.get(key)) for key in _NAMING_KEYS)
    return names


def _from_text(annotated: mi.Type, text: str) -> object:
    """What the text would be in TOML; left as text where it does not fit."""
    kind, notes = unwrap(annotated)
    if isinstance(kind, mi.VarTupleType):
        if text.lstrip().startswith("["):
            return _toml(text)
        parts = [part.strip() for part in text.split(",")]
        return [_from_text(kind.item_type, part) for part in parts if part]
    if isinstance(kind, mi.BoolType):
        return {"true": True, "false": False}.get(text.lower(), text)
    if isinstance(kind, mi.IntType | mi.FloatType) and notes.get("unit") != "mode":
        number = _toml(text)
        return number if isinstance(number, int | float) else text
    return text


def _toml(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
