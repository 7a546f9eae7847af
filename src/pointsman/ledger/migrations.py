"""The schema, step by step. A step that was released is never changed: a new one is added at the end.

What comes again and again lies once: what was asked of which model, and how it went, in `contexts`; users, tags and
other words in `names`; the rejected candidates of a decision in `rejections`. What does not apply is empty or 0; NULL
is what nobody knows.
"""

from __future__ import annotations

import sqlite3

import msgspec


def create_ledger(connection: sqlite3.Connection) -> None:
    for statement in (_NAMES, _REJECTIONS, _ENTRIES, _ENTRIES_BY_TIME, _BODIES, _JOURNALS, _KEYS):
        connection.execute(statement)


def add_budgets(connection: sqlite3.Connection) -> None:
    for statement in (_PURSES, _LEASES, _ALERTS, _ENTRY_HOLDS, _ENTRY_HELD):
        connection.execute(statement)


def add_key_rights(connection: sqlite3.Connection) -> None:
    for column in _KEY_RIGHTS:
        connection.execute(f"ALTER TABLE keys ADD COLUMN {column}")


def gather_contexts(connection: sqlite3.Connection) -> None:
    """Entries of 21 columns in place of 49: a row costs its writer in proportion."""
    connection.execute(_CONTEXTS)
    connection.execute("ALTER TABLE entries RENAME TO wide_entries")
    connection.execute(_LEAN_ENTRIES)
    numbers = _numbers_of_contexts(connection)
    connection.create_function("context_of", len(_SHARED), lambda *shared: numbers[shared])
    connection.create_function("details_of", len(_PACKED), _details_of)
    connection.execute(_MAKE_LEAN)
    connection.execute("DROP TABLE wide_entries")
    connection.execute(_ENTRIES_BY_TIME)


def add_learning(connection: sqlite3.Connection) -> None:
    for statement in (_FEEDBACK, *_FEEDBACK_INDEXES, _STATES):
        connection.execute(statement)


def add_finishes(connection: sqlite3.Connection) -> None:
    """How answers ended, among what attempts share; and why a feedback was given."""
    connection.execute("ALTER TABLE contexts RENAME TO earlier_contexts")
    connection.execute(_CONTEXTS_WITH_FINISH)
    connection.execute(f"INSERT INTO contexts SELECT id, {', '.join(_SHARED)}, '' FROM earlier_contexts")
    connection.execute("DROP TABLE earlier_contexts")
    connection.execute(_FEEDBACK_WHY)


def add_corrections(connection: sqlite3.Connection) -> None:
    """What was learned of a grade: whoever says it anew has that taken back. Of what was learned before this, nobody
    knows what was said by then."""
    connection.execute(_FEEDBACK_LEARNED)
    connection.execute(_LEARNED_UNKNOWN)


MIGRATIONS = (
    create_ledger,
    add_budgets,
    add_key_rights,
    gather_contexts,
    add_learning,
    add_finishes,
    add_corrections,
)


def _numbers_of_contexts(connection: sqlite3.Connection) -> dict[tuple[int | None, ...], int]:
    """What rows of `wide_entries` share → the number of the context that was made of it."""

    def word(number: int | None) -> str:
        row = connection.execute("SELECT text FROM names WHERE id = ?", (number,)).fetchone()
        return str(row[0]) if row else ""

    columns, places = ", ".join(_SHARED), ", ".join("?" * len(_SHARED))
    numbers = {}
    for shared in connection.execute(f"SELECT DISTINCT {columns} FROM wide_entries").fetchall():
        values = [
            (value or 0) if column in _SHARED_NUMBERS else word(value)
            for column, value in zip(_SHARED, shared, strict=True)
        ]
        connection.execute(f"INSERT INTO contexts ({columns}) VALUES ({places}) ON CONFLICT DO NOTHING", values)
        row = connection.execute(f"SELECT id FROM contexts WHERE ({columns}) = ({places})", values).fetchone()
        numbers[shared] = int(row[0])
    return numbers


def _details_of(*packed: object) -> bytes:
    """The values of _PACKED in MessagePack; empty where nothing of them applies."""
    if all(value is None or value == 0 and isinstance(value, int) for value in packed):
        return b""
    *counts, probability, state_version, candidates, rejected = packed
    plain = [count or 0 for count in counts]
    return msgspec.msgpack.encode([*plain, probability, state_version or "", candidates or b"", rejected])


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

_PURSES = """
CREATE TABLE purses (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    rule TEXT NOT NULL DEFAULT '',
    scope TEXT NOT NULL DEFAULT '',
    who TEXT NOT NULL DEFAULT '',
    span TEXT NOT NULL DEFAULT '',
    period TEXT NOT NULL DEFAULT '',
    most INTEGER NOT NULL DEFAULT 0,   -- nano-dollars, as all amounts; what the rule said when it was last asked
    spent INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0    -- of `spent`: had been reserved by processes that died, and no entry tells of it
)
"""

_LEASES = """
CREATE TABLE leases (
    purse INTEGER NOT NULL,
    process TEXT NOT NULL,             -- what the names of its journals begin with
    amount INTEGER NOT NULL,           -- less than 0: it has spent more than it leased
    PRIMARY KEY (purse, process)
) WITHOUT ROWID
"""

_ALERTS = """
CREATE TABLE alerts (
    purse INTEGER NOT NULL,
    share REAL NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (purse, share)
) WITHOUT ROWID
"""

_ENTRY_HOLDS = "ALTER TABLE entries ADD COLUMN holds INTEGER"  # of a name that is a JSON array of purses' names
_ENTRY_HELD = "ALTER TABLE entries ADD COLUMN held INTEGER"

_KEY_RIGHTS = (
    "models TEXT NOT NULL DEFAULT '[]'",  # a JSON array of patterns; an empty one: everything
    "requests_per_minute INTEGER",
    "tokens_per_minute INTEGER",
    "budget INTEGER",  # nano-dollars
    "budget_window TEXT NOT NULL DEFAULT 'month'",
    "user TEXT NOT NULL DEFAULT ''",
)

_SHARED_NUMBERS = ("stream", "upstream_status", "retry", "estimated")
_SHARED = (
    *("model", "endpoint", "provider", "dialect", "op", "stream", "status", "error", "upstream_status", "retry"),
    *("stage", "task", "complexity", "strategy", "policy", "version", "deployment", "tier", "estimated"),
)

_CONTEXTS = f"""
CREATE TABLE contexts (
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,               -- '' where a word does not apply, as everywhere here
    endpoint TEXT NOT NULL,
    provider TEXT NOT NULL,
    dialect TEXT NOT NULL,
    op TEXT NOT NULL,
    stream INTEGER NOT NULL,
    status TEXT NOT NULL,
    error TEXT NOT NULL,
    upstream_status INTEGER NOT NULL,  -- 0 where there was none
    retry INTEGER NOT NULL,
    stage TEXT NOT NULL,
    task TEXT NOT NULL,
    complexity TEXT NOT NULL,
    strategy TEXT NOT NULL,
    policy TEXT NOT NULL,
    version TEXT NOT NULL,
    deployment TEXT NOT NULL,
    tier TEXT NOT NULL,
    estimated INTEGER NOT NULL,
    UNIQUE ({", ".join(_SHARED)})
)
"""
_CONTEXTS_WITH_FINISH = _CONTEXTS.replace(
    "    UNIQUE (", "    finish TEXT NOT NULL,              -- '' where the answer did not end\n    UNIQUE (finish, "
)

_LEAN_ENTRIES = """
CREATE TABLE entries (
    number INTEGER PRIMARY KEY,
    attempt_id BLOB NOT NULL UNIQUE,   -- 16 bytes for 32 hexadecimal digits, else text; so are the other ids
    call_id BLOB NOT NULL,
    parent_id BLOB NOT NULL,           -- '' where it does not apply; so are the others below
    run_id BLOB NOT NULL,
    session BLOB NOT NULL,
    decision_id BLOB NOT NULL,
    at REAL NOT NULL,                  -- seconds since 1970, UTC
    context INTEGER NOT NULL,          -- contexts.id
    key INTEGER NOT NULL,              -- names.id, 0 for ''
    user INTEGER NOT NULL,             -- names.id, 0 for ''
    tags INTEGER NOT NULL,             -- of a name that is a JSON array of tags, 0 for none
    seconds REAL,
    ttft REAL,
    input_tokens INTEGER,              -- all of them, cached or not; NULL where nobody knows
    output_tokens INTEGER,             -- reasoning included
    cost INTEGER,                      -- nano-dollars
    list_cost INTEGER,
    holds INTEGER NOT NULL,            -- of a name that is a JSON array of purses' names, 0 for none
    held INTEGER NOT NULL,
    features BLOB NOT NULL,
    details BLOB NOT NULL              -- what is hardly ever asked for, in MessagePack: `Details` in rows.py
)
"""

_PACKED = (
    *("cache_read", "cache_write", "cache_write_1h", "reasoning"),
    *("probability", "state_version", "candidates", "rejected"),
)
_MAKE_LEAN = f"""
INSERT INTO entries SELECT number, attempt_id, coalesce(call_id, ''), coalesce(parent_id, ''), coalesce(run_id, ''),
    coalesce(session, ''), coalesce(decision_id, ''), at, context_of({", ".join(_SHARED)}),
    coalesce(key, 0), coalesce(user, 0), coalesce(tags, 0), seconds, ttft,
    input + cache_read + cache_write + cache_write_1h, output + reasoning, cost, list_cost,
    coalesce(holds, 0), coalesce(held, 0), coalesce(features, x''),
    details_of({", ".join(_PACKED).replace("state_version", "(SELECT text FROM names WHERE id = state_version)")})
FROM wide_entries ORDER BY number
"""

_FEEDBACK = """
CREATE TABLE feedback (
    number INTEGER PRIMARY KEY AUTOINCREMENT,   -- never used again: learners remember how far they have come
    call_id BLOB NOT NULL,             -- as in `entries`; so is attempt_id
    attempt_id BLOB NOT NULL,          -- '' for whichever attempt answered the call
    at REAL NOT NULL,
    score REAL NOT NULL,               -- 0 to 1; so is reliability
    source TEXT NOT NULL,
    reliability REAL NOT NULL,
    key TEXT NOT NULL,                 -- id of the key that graded, '' for none
    entry INTEGER NOT NULL,            -- entries.number of the attempt that is graded, 0 while it is not stored
    looked INTEGER NOT NULL,           -- while `entry` is 0: no entry up to this number is the one
    first INTEGER NOT NULL             -- the number that its giver's first word on this answer had, 0 where this is it
)
"""
_FEEDBACK_INDEXES = (
    "CREATE UNIQUE INDEX feedback_by_giver ON feedback (call_id, source, key, attempt_id)",
    "CREATE INDEX feedback_pending ON feedback (looked) WHERE entry = 0",
)

_FEEDBACK_WHY = "ALTER TABLE feedback ADD COLUMN why TEXT NOT NULL DEFAULT ''"
_FEEDBACK_LEARNED = "ALTER TABLE feedback ADD COLUMN learned TEXT NOT NULL DEFAULT ''"
_THROUGH = "(SELECT through FROM states ORDER BY version DESC LIMIT 1)"
_LEARNED_UNKNOWN = f"""
UPDATE feedback SET learned = '[' || {_THROUGH} || ',null,null]'
WHERE entry != 0 AND CASE WHEN first THEN first ELSE number END <= {_THROUGH}
"""

_STATES = """
CREATE TABLE states (
    version INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    through INTEGER NOT NULL,          -- feedback.number of the last feedback that is in it
    state BLOB NOT NULL
)
"""
