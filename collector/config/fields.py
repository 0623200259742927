"""The kinds of values that the configuration holds.

Each is an ordinary Python type with notes for msgspec: a bound, and the unit that says
how the TOML spells it. `convert.py` reads them, `schema.py` and `show.py` write them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from collector.core.limits import MIB

GIB = 1024 * MIB
MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR

Size = Annotated[int, Meta(extra={"unit": "size"})]
"""Bytes; in TOML `"512MiB"`, or an integer."""

Duration = Annotated[float, Meta(extra={"unit": "duration"})]
"""Seconds; in TOML `"30s"`, or a number."""

FileMode = Annotated[int, Meta(extra={"unit": "mode"}, ge=0, le=0o777)]
"""Permission bits; in TOML an octal string, `"0660"`."""

FilePath = Annotated[str, Meta(extra={"unit": "path"}, min_length=1)]
"""An absolute path once loaded; in TOML it may be relative to the configuration file."""

UpstreamName = Annotated[
    str, Meta(pattern=r"^[a-z0-9-]{1,32}$", extra={"expected": "1 to 32 of a-z, 0-9 and -"})
]

ProductKey = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$", extra={"expected": "1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'"}),
]
"""The characters that a lane's name, a header and a file's name can all carry."""

DeviceName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9._:-]{1,64}$",
        extra={"expected": "1 to 64 of A-Z, a-z, 0-9, '.', '_', ':' and '-'"},
    ),
]

KeyId = Annotated[
    str,
    Meta(
        pattern=r"^[ !#-\[\]-~]{1,128}$",
        extra={"expected": '1 to 128 printable ASCII characters, no " or \\'},
    ),
]
"""What an RFC 9421 `keyid` can hold without escapes."""

VariableName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        extra={"expected": "the name of an environment variable", "secret": True},
    ),
]

CredentialName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$",
        extra={"expected": "the name of a credential", "secret": True},
    ),
]

SecretPath = Annotated[FilePath, Meta(extra={"unit": "path", "secret": True})]
"""A path in whose place somebody may have written the secret itself: errors do not repeat it."""

PinnedKey = Annotated[
    str,
    Meta(
        pattern=r"^sha256//[A-Za-z0-9+/]{43}=$",
        extra={"expected": '"sha256//" and the base64 of a SHA-256, as curl\'s --pinnedpubkey has it'},
    ),
]

LabelName = Annotated[
    str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$", extra={"expected": "1 to 32 of a-z, 0-9 and _"})
]
"""What a Prometheus label and a structured field's key can both be called."""

LabelValue = Annotated[
    str,
    Meta(
        pattern=r"^[ !#-\[\]-~]{1,128}$",
        extra={"expected": '1 to 128 printable ASCII characters, no " or \\'},
    ),
]

Status = Annotated[int, Meta(ge=200, le=599)]
"""An HTTP status that may end an attempt."""

Share = Annotated[float, Meta(ge=0, le=1)]

AuthMode = Literal["required", "if-present", "off"]
Dialect = Literal["samsara", "traintracks"]
UpstreamKind = Literal["samsara", "traintracks", "file"]
Signing = Literal["rfc9421", "none"]
