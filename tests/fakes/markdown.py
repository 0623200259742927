"""What stands in the project's documents: their blocks, and the commands that they name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^    (.*)$", re.MULTILINE)
_PARAGRAPH = re.compile(r"(?:^ {4,}.*\n)+", re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"(?:^|[\s(])waystation +([a-z][a-z-]*)((?: [^|;&>\n]*)?)")


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    text = document.read_text(encoding="utf-8")
    return [body for named, body in _FENCED.findall(text) if named == language]


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        kind: the language of a fenced one, or `indented`.
    """

    document: Path
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{name_of(self.document)}: {self.text.splitlines()[0]}"


def every_block(document: Path) -> list[Block]:
    """All blocks of a document; indented lines with an empty one between them are two."""
    text = document.read_text(encoding="utf-8")
    fenced = [Block(document, named, body) for named, body in _FENCED.findall(text)]
    indented = _PARAGRAPH.findall(_FENCED.sub("", text))
    return [*fenced, *(Block(document, "indented", dedent(body)) for body in indented)]


def commands(document: Path) -> list[list[str]]:
    """Each `waystation ...` in code, as words; what is optional as if it were given."""
    text = document.read_text(encoding="utf-8")
    fenced = [body for _, body in _FENCED.findall(text)]
    plain = _FENCED.sub("", text)
    found = []
    for code in (*fenced, *_INDENTED.findall(plain), *_SPAN.findall(plain)):
        for line in code.splitlines():
            for name, rest in _COMMAND.findall(line.partition("#")[0]):
                found.append([name, *re.sub(r"[\[\]'\"]", " ", rest).split()])
    return found
