"""The write-ahead log as a file: how much of it can be believed, without asking SQLite.

SQLite reads a log up to the first frame that does not fit, and takes what is behind it for
the remains of a commit that was cut short. After damage, acknowledged commits may stand
there, and they would be gone without a word. So the log is looked through before SQLite
opens it; it is a few MiB, whatever the backlog.

A frame's checksum goes on from the one before it as that is written down, so that each can
be verified even where those before it cannot. Two things tell damage from a commit that a
power cut tore: two more commits stand behind the break, while each is synced before the
next begins; or the log's index, which is written only after the sync, counts more frames
than can be read.

The format is that of https://www.sqlite.org/fileformat2.html#the_write_ahead_log and
https://www.sqlite.org/walformat.html.
"""

from __future__ import annotations

import struct
import sys
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
_MAGIC = 0x377F0682
_MASK = 0xFFFFFFFF
_INDEX_HEADER_BYTES = 48


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that is as it was written.

    Attributes:
        page: of the database, counted from 1.
        offset: of the page's content, in the log.
        commits: whether a transaction ends with it.
    """

    page: int
    offset: int
    commits: bool


@dataclass(frozen=True, slots=True)
class Log:
    """What is in a log.

    Attributes:
        frames: all that are as they were written, in order, those behind a break as well.
        page_bytes: the size of a page.
        damage: why it cannot be what was written; empty where it can.
    """

    frames: tuple[Frame, ...]
    page_bytes: int
    damage: str = ""


def scan(log: Path, index: Path, *, page_bytes: int) -> Log:
    """Look through a log.

    Args:
        log: its file, which may be missing.
        index: its index beside it, which may be missing too.
        page_bytes: of the database, for a log that does not say.

    Raises:
        OSError: it cannot be read.
    """
    content = log.read_bytes() if log.exists() else b""
    if not content.strip(b"\0"):
        return Log((), page_bytes)
    header = content[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0")
    magic, _, said_bytes, _, salts, seed = struct.unpack(">IIII8s8s", header)
    little = magic & 1 == 0
    sound = magic & ~1 == _MAGIC and _checksum(header[:24], bytes(8), little=little) == seed
    if sound:
        page_bytes = said_bytes
    elif not header.strip(b"\0"):
        # The header's sync had not come about: neither had any commit.
        return Log((), page_bytes)
    else:
        little = True
        salts = content[HEADER_BYTES + 8 : HEADER_BYTES + 16]
    frames, believed, commits_behind = _frames(content, page_bytes, salts, seed, little=little)
    damage = ""
    if not sound:
        damage = "the write-ahead log begins with garbage"
    elif commits_behind > 1:
        damage = f"the write-ahead log is broken behind frame {believed}"
    else:
        promised = _promised(index, salts)
        if promised > believed:
            damage = f"the write-ahead log has {believed} of {promised} frames"
    return Log(frames, page_bytes, damage)


def _frames(
    content: bytes, page_bytes: int, salts: bytes, seed: bytes, *, little: bool
) -> tuple[tuple[Frame, ...], int, int]:
    """The frames that verify, how many SQLite would believe, and how many commits stand behind those."""
    frames: list[Frame] = []
    believed = commits_behind = 0
    unbroken = True
    closed = 0
    step = FRAME_HEADER_BYTES + page_bytes
    for number, start in enumerate(range(HEADER_BYTES, len(content) - step + 1, step), 1):
        page, size, frame_salts, written = struct.unpack_from(">II8s8s", content, start)
        body = content[start : start + 8] + content[start + FRAME_HEADER_BYTES : start + step]
        if frame_salts == salts and page > 0 and _checksum(body, seed, little=little) == written:
            frames.append(Frame(page, start + FRAME_HEADER_BYTES, size > 0))
            if unbroken and size:
                believed = number
            elif size and page != closed:
                commits_behind += 1
            # On disks that may tear sectors SQLite fills up with repeats of a commit's last frame.
            closed = page if size else 0
        else:
            unbroken = False
        seed = written
    return tuple(frames), believed, commits_behind


def _checksum(content: bytes, seed: bytes, *, little: bool) -> bytes:
    """The log's running checksum, as it is written: two big-endian words."""
    first, second = struct.unpack(">II", seed)
    words = array("I", content)
    if little != (sys.byteorder == "little"):
        words.byteswap()
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _MASK
        second = (second + odd + first) & _MASK
    return struct.pack(">II", first, second)


def _promised(index: Path, salts: bytes) -> int:
    """The frames that had been committed, as far as the index is of this log and can be believed."""
    try:
        with index.open("rb") as file:
            one, two = file.read(_INDEX_HEADER_BYTES), file.read(_INDEX_HEADER_BYTES)
    except OSError:
        return 0
    if len(two) < _INDEX_HEADER_BYTES or one != two:
        return 0
    # Native byte order, except that the salts are copied as they stand in the log.
    promised, index_salts, seal = struct.unpack("=16xI12x8s8s", one)
    first, second = struct.unpack(">II", _checksum(one[:40], bytes(8), little=sys.byteorder == "little"))
    if index_salts != salts or struct.unpack("=II", seal) != (first, second):
        return 0
    return int(promised)
