"""JSON Schema of the configuration, from the model; editors complete and check with it."""

from __future__ import annotations

import inspect
import re

import msgspec
import msgspec.inspect as mi

from collector.config.convert import unwrap
from collector.config.model import Config
from collector.config.show import plain
from collector.config.units import DURATION_PATTERN, MODE_PATTERN, SIZE_PATTERN

Schema = dict[str, object]

_FILLED_IN = frozenset({"state_dir", "listener", "upstream", "admin.bind"})
"""Keys whose default `load` works out; that of the model is not what happens."""

_ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
_UNITS = {"size": SIZE_PATTERN, "duration": DURATION_PATTERN}


def json_schema() -> Schema:
    """The schema, of draft 2020-12. It cannot say what must hold between values."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Waystation configuration",
        **_schema(mi.type_info(Config), ""),
    }


def describe(struct: type) -> dict[str, str]:
    """What a Struct's docstring says of each of its fields, by key."""
    text = inspect.getdoc(struct) or ""
    return {key: " ".join(words.split()) for key, words in _ATTRIBUTE.findall(text)}


def _schema(annotated: mi.Type, path: str) -> Schema:
    kind, notes = unwrap(annotated)
    if isinstance(kind, mi.StructType):
        return _object(kind, path)
    if isinstance(kind, mi.VarTupleType | mi.DictType):
        return _collection(kind, path)
    if isinstance(kind, mi.LiteralType):
        return {"enum": list(kind.values)}
    if isinstance(kind, mi.BoolType):
        return {"type": "boolean"}
    if isinstance(kind, mi.StrType):
        return _string(kind)
    if isinstance(kind, mi.IntType | mi.FloatType):
        return _number(kind, notes)
    raise TypeError(f"the model holds a {kind}, for which there is no schema")


def _object(kind: mi.StructType, path: str) -> Schema:
    descriptions = describe(kind.cls)
    properties: Schema = {}
    required: list[str] = []
    for field in kind.fields:
        key = field.encode_name
        here = f"{path}.{key}" if path else key
        schema = _schema(field.type, here)
        schema["description"] = descriptions[key]
        properties[key] = schema
        if here in _FILLED_IN:
            continue
        if field.required:
            required.append(key)
        elif field.default not in {None, msgspec.NODEFAULT}:
            default = plain(field.type, field.default)
            if not isinstance(default, dict):
                schema["default"] = default
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _collection(kind: mi.VarTupleType | mi.DictType, path: str) -> Schema:
    if isinstance(kind, mi.VarTupleType):
        return {"type": "array", "items": _schema(kind.item_type, f"{path}[]")}
    return {
        "type": "object",
        "propertyNames": _schema(kind.key_type, path),
        "additionalProperties": _schema(kind.value_type, path),
        "maxProperties": kind.max_length,
    }


def _string(kind: mi.StrType) -> Schema:
    if kind.pattern is not None:
        return {"type": "string", "pattern": kind.pattern}
    return {"type": "string"} if kind.min_length is None else {"type": "string", "minLength": kind.min_length}


def _number(kind: mi.IntType | mi.FloatType, notes: dict[str, object]) -> Schema:
    unit = notes.get("unit")
    if unit == "mode":
        return {"type": "string", "pattern": MODE_PATTERN}
    number = "integer" if isinstance(kind, mi.IntType) else "number"
    bounds = {
        "minimum": kind.ge,
        "exclusiveMinimum": kind.gt,
        "maximum": kind.le,
    }
    schema: Schema = {name: bound for name, bound in bounds.items() if bound is not None}
    if unit in _UNITS:
        # Bounds hold for numbers alone: of strings a schema sees the form, not the size.
        return {"type": ["string", number], "pattern": _UNITS[str(unit)], **schema}
    return {"type": number, **schema}
