"""The spool's tables, and the changes that made them.

What the tables mean
--------------------
`stream` is one dialect and product. Each of its events has a position, counted from 0 and
given out without gaps. `chunk` holds the events of one accepted request, once, whoever
takes them. `lane` is one upstream's way through one stream: a cursor (chunk and index) and
the state that its forwarding must keep across a restart. `batch` is the one sealed batch
that a lane may have outstanding. `epoch` names the lives of the spool. `boot` has the
machine's starts, in stretches between which its wall clock was set, with what that was wrong
by where it became known. `age_clock` is what `max_age` counts by: the time that the machine
has run, so that a wall clock that jumps ten years ends no event's life; `stop` has the
times when it was off, where both ends are known. `total` in both is there for its CHECK: one
flipped bit would end every event's life. `confirmed_*` is the last moment at which the
wall clock was known to be right.

`counts` is all that each commit counts, in one table so that it is one page: three tables were
three pages of each. It is read by three views. `ledger` counts each lane's events by their day of
acceptance; its CHECK is the promise that nothing goes missing in silence, so a transaction that
broke it could not commit. `intake` counts what was received, once an event however many upstreams
take it. `stream_end` says where each stream goes on; its rows have a day behind all others, beside
which today's are, so that the days that go by take no more pages. A row of no lane has 0 there,
which `of_lane` makes NULL of, to refer to the lane.

`absence` holds the stretches of a stream that are not a lane's own: what was accepted
while its upstream was out of the configuration, and what was gone already when an upstream
that starts at the oldest event was new. The last one is open, without an end, while the
upstream is away. A lane that has come up to a closed one goes on behind it. `full` marks those
of a lane that was not admitted: what was accepted for others meanwhile counts as evicted here.

`stream.replayed` counts the positions that were given to replayed dead letters: the others are
those of `intake`. `chunk.only_lane` names the lane that a chunk of replayed dead letters is
for; the other lanes of its stream have an absence over it. `dead_letter.boot` and
`received_at` are the chunk's that the event came in, so that a replay renders it as it would
have been. `died_age` is read off the age clock. `damaged` marks what is left of a whole
chunk: that can be looked at, not replayed.

A chunk is needed by the lanes of its stream whose cursor is not past it and that have no
absence over it; it is deleted when none needs it any more. `stream_end.last_seq` is the `seq` of the
last chunk that the stream was given, and stays when that is deleted: by the chunks alone they would
be numbered from 1 again after a full drain, below the cursors. It is no AUTOINCREMENT, since SQLite
keeps the number of that on a page of its own, which each commit would have to write.

`extent` says which chunks are whose: from `first_seq` up to `end_seq` all are one stream's. The last of
all is open, with its end beyond all numbers: it grows with its stream, and is written to when
another stream's chunk comes.

What a settling batch writes is few pages too: a batch is found by its lane, and no index has a cursor.

A batch carries its device, since a device that is named anew must not change what was
sealed. `chunk.boot` is no foreign key: forgetting an old boot would look through every
chunk for it.

`name_copy` says once more, on a page of its own, which dialect and product each stream is,
and what each upstream and lane: where the one page that holds them is lost, the chunks can
still be told apart. `salvage` is the journal of what was saved from damaged files.

Times are ms since 1970, days whole UTC days since 1970, sizes bytes.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Protocol

    class Migrated(Protocol):
        """A `sqlite_utils.Database`, or anything else with a connection."""

        @property
        def conn(self) -> sqlite3.Connection:
            """The connection."""


END_DAY = (1 << 31) - 1
"""The day of the rows of `counts` that say where a stream goes on."""

_FIRST_TABLES = f"""
CREATE TABLE epoch (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    started_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    device TEXT NOT NULL,
    machine TEXT NOT NULL
);
CREATE TABLE boot (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    began_at INTEGER NOT NULL,
    base INTEGER NOT NULL,
    trust INTEGER NOT NULL,
    clock_offset INTEGER,
    corrected_by INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX boot_by_name ON boot (name);
CREATE TABLE age_clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    age INTEGER NOT NULL,
    boot TEXT NOT NULL,
    ticks INTEGER NOT NULL,
    newest_wall INTEGER NOT NULL,
    confirmed_age INTEGER,
    confirmed_wall INTEGER,
    confirmed_boot TEXT,
    total INTEGER NOT NULL,
    CHECK (total = age + ticks + newest_wall + coalesce(confirmed_age, 0) + coalesce(confirmed_wall, 0))
);
CREATE TABLE stop (
    age INTEGER PRIMARY KEY,
    missed INTEGER NOT NULL CHECK (missed > 0),
    total INTEGER NOT NULL CHECK (total = age + missed)
);
CREATE TABLE stream (
    id INTEGER PRIMARY KEY,
    dialect TEXT NOT NULL,
    product TEXT NOT NULL,
    replayed INTEGER NOT NULL DEFAULT 0,
    UNIQUE (dialect, product)
);
CREATE TABLE counts (
    day INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    stream INTEGER NOT NULL REFERENCES stream (id),
    accepted INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0 CHECK (pending >= 0),
    delivered INTEGER NOT NULL DEFAULT 0 CHECK (delivered >= 0),
    dead INTEGER NOT NULL DEFAULT 0 CHECK (dead >= 0),
    expired INTEGER NOT NULL DEFAULT 0 CHECK (expired >= 0),
    evicted INTEGER NOT NULL DEFAULT 0 CHECK (evicted >= 0),
    damaged INTEGER NOT NULL DEFAULT 0 CHECK (damaged >= 0),
    outcome_unknown INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    events INTEGER NOT NULL DEFAULT 0,
    next_position INTEGER NOT NULL DEFAULT 0,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    last_seq INTEGER NOT NULL DEFAULT 0,
    of_lane INTEGER GENERATED ALWAYS AS (nullif(lane, 0)) VIRTUAL REFERENCES lane (id),
    PRIMARY KEY (day, lane, stream),
    CHECK (accepted = pending + delivered + dead + expired + evicted + damaged)
) WITHOUT ROWID;
CREATE INDEX counts_by_lane ON counts (lane, stream);
CREATE VIEW ledger AS
    SELECT lane, day, accepted, pending, delivered, dead, expired, evicted, damaged, outcome_unknown
    FROM counts WHERE lane > 0;
CREATE VIEW intake AS
    SELECT stream, day, requests, events FROM counts WHERE lane = 0 AND day <> {END_DAY};
CREATE VIEW stream_end AS
    SELECT stream, next_position, stored_bytes, last_seq FROM counts WHERE lane = 0 AND day = {END_DAY};
CREATE TABLE chunk (
    seq INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL REFERENCES stream (id),
    boot INTEGER NOT NULL,
    day INTEGER NOT NULL,
    accepted_age INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    published_at INTEGER,
    uid INTEGER,
    remote_address TEXT NOT NULL,
    events INTEGER NOT NULL CHECK (events > 0),
    first_position INTEGER NOT NULL,
    encoding TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    only_lane INTEGER,
    body BLOB NOT NULL
);
CREATE INDEX chunk_replayed ON chunk (boot) WHERE only_lane IS NOT NULL;
CREATE TABLE extent (
    stream INTEGER NOT NULL REFERENCES stream (id),
    first_seq INTEGER NOT NULL,
    end_seq INTEGER NOT NULL CHECK (end_seq > first_seq),
    PRIMARY KEY (stream, first_seq)
) WITHOUT ROWID;
CREATE TABLE upstream (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    orphaned_at INTEGER,
    paused_at INTEGER
);
CREATE TABLE lane (
    id INTEGER PRIMARY KEY,
    upstream INTEGER NOT NULL REFERENCES upstream (id),
    stream INTEGER NOT NULL REFERENCES stream (id),
    cursor_seq INTEGER NOT NULL,
    cursor_index INTEGER NOT NULL DEFAULT 0,
    cursor_position INTEGER NOT NULL,
    passed_bytes INTEGER NOT NULL,
    suspect_end INTEGER,
    condemned TEXT NOT NULL DEFAULT '[]',
    state TEXT NOT NULL DEFAULT 'new',
    reason TEXT NOT NULL DEFAULT '',
    since INTEGER NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL DEFAULT 0,
    wait INTEGER NOT NULL DEFAULT 0,
    learned_limit INTEGER,
    judged INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    settled TEXT,
    UNIQUE (upstream, stream)
);
CREATE INDEX lane_by_stream ON lane (stream);
CREATE TABLE absence (
    lane INTEGER NOT NULL REFERENCES lane (id),
    from_seq INTEGER NOT NULL,
    to_seq INTEGER CHECK (to_seq >= from_seq),
    to_position INTEGER,
    from_bytes INTEGER NOT NULL,
    to_bytes INTEGER,
    full INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (lane, from_seq)
) WITHOUT ROWID;
CREATE TABLE batch (
    lane INTEGER PRIMARY KEY REFERENCES lane (id),
    id TEXT NOT NULL,
    epoch INTEGER NOT NULL REFERENCES epoch (number),
    device TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    first_index INTEGER NOT NULL,
    end_seq INTEGER NOT NULL,
    end_index INTEGER NOT NULL,
    remote_address TEXT NOT NULL,
    body_sha256 BLOB NOT NULL,
    renderer INTEGER NOT NULL,
    options TEXT NOT NULL,
    sealed_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    last_status INTEGER NOT NULL DEFAULT 0,
    same_status INTEGER NOT NULL DEFAULT 0,
    replaces TEXT
);
CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    lane INTEGER NOT NULL REFERENCES lane (id),
    epoch INTEGER NOT NULL REFERENCES epoch (number),
    position INTEGER NOT NULL,
    day INTEGER NOT NULL,
    boot INTEGER,
    received_at INTEGER NOT NULL,
    published_at INTEGER,
    remote_address TEXT NOT NULL,
    died_at INTEGER NOT NULL,
    died_age INTEGER NOT NULL,
    damaged INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    reason TEXT NOT NULL,
    status INTEGER NOT NULL,
    answer TEXT NOT NULL,
    event BLOB NOT NULL
);
CREATE INDEX dead_letter_by_lane ON dead_letter (lane, boot, bytes);
CREATE TABLE name_copy (
    kind TEXT NOT NULL,
    id INTEGER NOT NULL,
    first TEXT NOT NULL,
    second TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE TRIGGER stream_named AFTER INSERT ON stream BEGIN
    INSERT OR REPLACE INTO name_copy VALUES ('stream', new.id, new.dialect, new.product);
END;
CREATE TRIGGER upstream_named AFTER INSERT ON upstream BEGIN
    INSERT OR REPLACE INTO name_copy VALUES ('upstream', new.id, new.name, new.kind);
END;
CREATE TRIGGER upstream_renamed AFTER UPDATE OF name, kind ON upstream BEGIN
    INSERT OR REPLACE INTO name_copy VALUES ('upstream', new.id, new.name, new.kind);
END;
CREATE TRIGGER lane_named AFTER INSERT ON lane BEGIN
    INSERT OR REPLACE INTO name_copy VALUES ('lane', new.id, new.upstream, new.stream);
END;
CREATE TABLE salvage (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    set_aside TEXT NOT NULL,
    epoch TEXT NOT NULL,
    chunks INTEGER NOT NULL,
    events INTEGER NOT NULL,
    damaged INTEGER NOT NULL,
    notes TEXT NOT NULL
);
"""  # noqa: S608 (made of a constant)


def _statements(script: str) -> list[str]:
    """The script's statements; `executescript` would commit the migration's transaction."""
    statements, current = [], ""
    for line in script.strip().splitlines():
        current += line + "\n"
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements


def first_tables(db: Migrated) -> None:
    """Make the tables of the first release."""
    for statement in _statements(_FIRST_TABLES):
        db.conn.execute(statement)
