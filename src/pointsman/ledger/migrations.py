"""The schema, step by step. A step that was released is never changed: a new one is added at the end.

Words that come again and again (models, tasks, tags, …) lie once in `names`; the rejected candidates of a decision,
which hardly change from call to call, lie once in `rejections`. NULL stands for '' and for unknown.
"""

from __future__ import annotations

import sqlite3


def create_ledger(connection: sqlite3.Connection) -> None:
    for statement in (_NAMES, _REJECTIONS, _ENTRIES, _ENTRIES_BY_TIME, _BODIES, _JOURNALS, _KEYS):
        connection.execute(statement)


MIGRATIONS = (create_ledger,)

_NAMES = "CREATE TABLE names (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)"

_REJECTIONS = "CREATE TABLE rejections (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, listed BLOB NOT NULL)"

_ENTRIES = """
CREATE TABLE entries (
    number INTEGER PRIMARY KEY,
    attempt_id BLOB NOT NULL UNIQUE,   -- 16 bytes for 32 hexadecimal digits, else text; so are the other ids
    call_id BLOB,
    parent_id BLOB,
    run_id BLOB,
    session BLOB,
    decision_id BLOB,
    at REAL NOT NULL,                  -- seconds since 1970, UTC
    model INTEGER,                     -- names.id; so is every column down to `tier`
    endpoint INTEGER,
    provider INTEGER,
    dialect INTEGER,
    op INTEGER,
    status INTEGER,
    error INTEGER,
    stage INTEGER,
    task INTEGER,
    complexity INTEGER,
    strategy INTEGER,
    policy INTEGER,
    state_version INTEGER,
    key INTEGER,
    user INTEGER,
    tags INTEGER,                      -- of a name that is a JSON array of tags
    version INTEGER,
    deployment INTEGER,
    tier INTEGER,
    stream INTEGER,
    retry INTEGER,
    upstream_status INTEGER,
    seconds REAL,
    ttft REAL,
    input INTEGER,                     -- tokens, in disjoint buckets; all NULL when unknown
    cache_read INTEGER,
    cache_write INTEGER,
    cache_write_1h INTEGER,
    output INTEGER,
    reasoning INTEGER,
    estimated INTEGER,
    cost INTEGER,                      -- nano-dollars
    list_cost INTEGER,
    probability REAL,
    features BLOB,
    candidates BLOB,                   -- 12 bytes each: names.id (u32), score (f32, NaN for none), probability (f32)
    rejected INTEGER                   -- rejections.id
)
"""

_ENTRIES_BY_TIME = "CREATE INDEX entries_by_time ON entries (at)"

_BODIES = """
CREATE TABLE bodies (
    number INTEGER PRIMARY KEY,
    attempt_id BLOB NOT NULL UNIQUE,
    at REAL NOT NULL,
    prompt BLOB NOT NULL,
    answer TEXT NOT NULL
)
"""

_JOURNALS = "CREATE TABLE journals (name TEXT PRIMARY KEY, drained INTEGER NOT NULL) WITHOUT ROWID"

_KEYS = """
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,              -- HMAC-SHA-256 of the whole key under the pepper
    scopes TEXT NOT NULL,              -- words, with a blank between
    created REAL NOT NULL,
    expires REAL,
    revoked REAL
) WITHOUT ROWID
"""
