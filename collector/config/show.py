"""Writing a configuration out again, as TOML or as a tree, with the secrets left out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import msgspec
import msgspec.inspect as mi

from collector.config.convert import unwrap
from collector.config.model import Listener
from collector.config.redact import redact_url
from collector.config.units import format_duration, format_mode, format_size
from collector.config.upstream import Upstream
from collector.config.upstream_checks import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collector.config.model import Config

Tree = dict[str, object]


def as_tree(config: Config) -> Tree:
    """The configuration as TOML would hold it.

    Args:
        config: as loaded.

    Returns:
        Every key that counts, defaults among them, also those that depend on other keys;
        sizes, durations and modes as text; URLs without their secrets. Keys that are not
        set, or that mean nothing to the kind of an upstream, are left out.
    """
    return cast("Tree", plain(mi.type_info(type(config)), _in_force(config)))


def _in_force(config: Config) -> Config:
    """The configuration with what stands for the keys that are not set."""
    replace = msgspec.structs.replace
    return replace(
        config,
        listener=tuple(replace(listener, auth=listener.auth_mode) for listener in config.listener),
        upstream=tuple(replace(upstream, compress=upstream.compresses) for upstream in config.upstream),
    )


def plain(annotated: mi.Type, value: object) -> object:
    """A value of the model as TOML would hold it."""
    kind, notes = unwrap(annotated)
    if isinstance(kind, mi.StructType):
        keys = _keys(value, kind)
        members = {field.encode_name: (field.type, getattr(value, field.name)) for field in kind.fields}
        return {
            key: plain(member_kind, member)
            for key, (member_kind, member) in members.items()
            if member is not None and key in keys
        }
    if isinstance(kind, mi.VarTupleType) and isinstance(value, tuple):
        return [plain(kind.item_type, item) for item in value]
    if isinstance(kind, mi.DictType) and isinstance(value, dict):
        return {key: plain(kind.value_type, item) for key, item in value.items()}
    unit = notes.get("unit")
    if unit == "duration" and isinstance(value, float):
        return format_duration(value)
    if isinstance(value, int) and unit in {"size", "mode"}:
        return format_size(value) if unit == "size" else format_mode(value)
    return redact_url(value) if isinstance(value, str) else value


def _keys(value: object, kind: mi.StructType) -> frozenset[str]:
    """The keys that mean something to this table; loading refuses the others."""
    if isinstance(value, Upstream):
        return KEYS[value.kind]
    keys = frozenset(field.encode_name for field in kind.fields)
    on_tcp = isinstance(value, Listener) and not value.bind.startswith("unix:")
    return keys - {"mode", "group", "allow_users", "allow_groups"} if on_tcp else keys


def to_toml(tree: Mapping[str, object]) -> str:
    """Write a tree of tables, arrays, texts, numbers and truth values as TOML."""
    return "\n".join(_table((), tree)).lstrip("\n") + "\n"


def _table(path: tuple[str, ...], table: Mapping[str, object]) -> Iterator[str]:
    tables: list[tuple[str, object]] = []
    for key, value in table.items():
        if isinstance(value, dict) or _is_array_of_tables(value):
            tables.append((key, value))
        else:
            yield f"{key} = {_value(value)}"
    for key, value in tables:
        here = (*path, key)
        if isinstance(value, dict) and not path:
            yield f"\n[{'.'.join(here)}]"
            yield from _table(here, value)
        elif isinstance(value, dict):
            pairs = ", ".join(f"{name} = {_value(item)}" for name, item in value.items())
            yield f"{key} = {{ {pairs} }}"
        elif isinstance(value, list):
            for element in value:
                yield f"\n[[{'.'.join(here)}]]"
                yield from _table(here, element)


def _is_array_of_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    # TOML's basic strings have JSON's escapes, but want DEL escaped too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
