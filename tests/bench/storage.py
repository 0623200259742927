"""Two sides: a bare loop of SQLite commits of the same bytes and group size, and raw fdatasync.

python storage.py sqlite FILE SECONDS EVENTS GROUP      prints events a second
python storage.py fdatasync FILE SECONDS                prints syncs a second
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.bodies import bodies

PAGE_BYTES = 8192
CHECKPOINT_PAGES = 512


def sqlite_rate(path: str, seconds: float, events: int, group: int) -> float:
    """Events a second that the storage takes when nothing else is done."""
    stored = [zlib.compress(body, 1) if len(body) > 1024 else body for body in bodies(events)]
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    connection.execute(
        "CREATE TABLE chunk (seq INTEGER PRIMARY KEY AUTOINCREMENT, dialect, received_at, published_at,"
        " events, first_position, encoding, checksum, body)"
    )
    insert = (
        "INSERT INTO chunk (dialect, received_at, published_at, events, first_position, encoding, checksum,"
        " body) VALUES (1, ?, ?, ?, ?, 'zlib', 12345678, ?)"
    )
    done = 0
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        now = 1_790_000_000_000 + done
        rows = [
            (now, now, events, (done + index) * events, stored[(done + index) % len(stored)])
            for index in range(group)
        ]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(insert, rows)
        connection.execute("COMMIT")
        done += group
    return done * events / (time.monotonic() - began)


def fdatasync_rate(path: str, seconds: float) -> float:
    """4 KiB appended and synced, so many times a second."""
    page = os.urandom(4096)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    done = 0
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        os.write(file, page)
        os.fdatasync(file)
        done += 1
    rate = done / (time.monotonic() - began)
    os.close(file)
    return rate


if __name__ == "__main__":
    kind, file_name, duration, *rest = sys.argv[1:]
    if kind == "sqlite":
        sys.stdout.write(f"{sqlite_rate(file_name, float(duration), *map(int, rest))}\n")
    else:
        sys.stdout.write(f"{fdatasync_rate(file_name, float(duration))}\n")
