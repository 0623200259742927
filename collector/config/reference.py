"""The configuration reference, made from the model: `python -m collector.config.reference`.

`docs/configuration.md` is what this prints; a test holds them equal.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from collector.config.schema import json_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HEAD = """\
# Configuration

One TOML file: `--config FILE`, else `$WAYSTATION_CONFIG`, else the user's
(`~/.config/waystation/config.toml`; on macOS `~/Library/Application
Support/waystation/config.toml`), else `/etc/waystation/config.toml`. Without any, everything has
the defaults below: listeners on `localhost:9000` and a UNIX socket, and one upstream of kind
`file`.

Unknown keys are refused. `waystation config check` lists everything that is wrong at once, each
with file, line, key, what was found and what was expected; `waystation config show` prints what is
in force, and `waystation config schema` a JSON Schema for editors.

Sizes are `"512MiB"` or bytes, durations `"1m 30s"` or seconds, modes octal text such as `"0660"`.
File names are relative to the file that names them.

An environment variable overrides a single value: `WAYSTATION_SPOOL__MAX_BYTES=2GiB`,
`WAYSTATION_UPSTREAM__0__URL=…`. A number counts the tables of an array, from 0. Where the file has
no such array, a number begins a new one, which takes the place of the default array:
`WAYSTATION_LISTENER__0__BIND=localhost:9100` alone leaves no UNIX socket.

Other names that begin with `WAYSTATION_` are refused, but `WAYSTATION_CONFIG`, `WAYSTATION_SOCKET`
and `WAYSTATION_DEBUG`, and those that `secret_env`, `key_env` and `token_env` name. (On Kubernetes, set
`enableServiceLinks: false`, or a service called `waystation` adds names of its own.)

Of `_file`, `_env` and `_credential` of one secret, give one. A file must be readable by its owner
alone; a credential is a file in `$CREDENTIALS_DIRECTORY`. Secrets are read for each attempt.
"""

Schema = dict[str, object]


def markdown() -> str:
    """The whole page."""
    return _HEAD + "".join(_sections("", json_schema(), many=False))


def _sections(path: str, schema: Schema, *, many: bool) -> Iterator[str]:
    """A section for a table of the file, and then for those below it."""
    title = f"`[[{path}]]`" if many else f"`[{path}]`" if path else "At the top"
    yield f"\n## {title}\n\n| key | default | meaning |\n| --- | --- | --- |\n"
    required = cast("list[str]", schema.get("required", []))
    below: list[tuple[str, Schema, bool]] = []
    for key, value in _properties(schema).items():
        items = cast("Schema", value.get("items", {}))
        inner = items if "properties" in items else value
        if "properties" in inner:
            below.append((f"{path}.{key}" if path else key, inner, inner is items))
            continue
        yield f"| `{key}` | {_default(value, required=key in required)} | {_meaning(value)} |\n"
    for name, inner, inner_many in below:
        yield from _sections(name, inner, many=inner_many)


def _properties(schema: Schema) -> Mapping[str, Schema]:
    return cast("Mapping[str, Schema]", schema["properties"])


def _default(value: Schema, *, required: bool) -> str:
    if required:
        return "required"
    default = value.get("default")
    if default is None or default == []:
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, list):
        return ", ".join(f'`"{item}"`' for item in default)
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"


def _meaning(value: Schema) -> str:
    text = str(value.get("description", ""))
    choices = cast("list[object]", value.get("enum", []))
    if choices:
        text += " One of " + ", ".join(f'`"{choice}"`' for choice in choices if choice is not None) + "."
    return text.replace("|", r"\|")


if __name__ == "__main__":
    sys.stdout.write(markdown())
