"""State on a SQLite file of its own: shared by the processes of one machine, and kept over a restart.

It survives the death of a process, not the loss of power: nothing here is worth waiting for a disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..core import Clock, LedgerError, MemoryState, Rate, Take
from ..core.state import LESSER, MOST, Told
from .store import Store

TRIES = 100
PATIENCE = 0.001
"""Seconds for which each try waits for the lock that another process holds. Calls wait with us, so they are few; and
many short tries, since SQLite's own pauses grow until whoever waits goes hungry."""
TRY_AGAIN = 5.0
"""Seconds after which a file that could not be used is tried again."""
SWEEP_EVERY = 10_000
"""Writes between two looks for buckets and facts that are over."""


class SharedState:
    """The State of several processes of one machine; for one thread. The file is made and opened on first use.

    Where it cannot be used (no space, locked, broken), each process goes on by itself, with `share` of each rate, and
    `problem` says why; calls never fail for it. Times are the wall clock's: when that is turned back or forward, a
    bucket is full again after at most its `seconds`, and is refilled at most once.
    """

    def __init__(self, path: Path, clock: Clock, *, share: float = 1.0) -> None:
        self.problem: str | None = None
        """Why nothing is shared at present."""
        self._store = Store(path, migrations=(_create_state,))
        self._wall = clock.wall
        self._steady = clock.steady
        self._share = share
        self._connection: sqlite3.Connection | None = None
        self._try_at = float("-inf")
        self._memory = MemoryState(clock)
        """All facts as far as they are known here; and the buckets while the file cannot be used."""
        self._version = -1
        self._seen = 0
        """The number of the last fact that was read from the file."""
        self._own: set[int] = set()
        """Numbers of the facts that this process has put since."""
        self._writes = 0

    def take(self, takes: Sequence[Take]) -> float:
        connection = self._open()
        if connection is not None:
            try:
                return self._take(connection, takes)
            except sqlite3.Error as error:
                self._give_up(error)
        return self._memory.take(self._shares(takes))

    def wait(self, takes: Sequence[Take]) -> float:
        connection = self._open()
        if connection is not None:
            try:
                now = self._wall()
                buckets = [_bucket(connection, name) for name, _, _ in takes]
                if _are_ahead(buckets, now):
                    _begin(connection)
                    _turn_back(connection, takes, now)
                    connection.execute("COMMIT")
                return _longest(takes, buckets, now)
            except sqlite3.Error as error:
                self._give_up(error)
        return self._memory.wait(self._shares(takes))

    def give(self, name: str, rate: Rate, units: float) -> None:
        connection = self._open()
        if connection is not None:
            try:
                _begin(connection)
                _add(connection, name, rate, -units, _bucket(connection, name), self._wall())
                connection.execute("COMMIT")
                return
            except sqlite3.Error as error:
                self._give_up(error)
        ((_, shared, _),) = self._shares([(name, rate, units)])
        self._memory.give(name, shared, units)

    def put(self, name: str, value: bytes, seconds: float) -> None:
        connection = self._open()
        if connection is not None:
            try:
                self._put(connection, name, value, seconds)
            except sqlite3.Error as error:
                self._give_up(error)
        self._memory.put(name, value, seconds)

    def get(self, name: str) -> bytes | None:
        self._open()
        return self._memory.get(name)

    def watch(self, prefix: str, told: Told) -> None:
        """Opens nothing: what is in the file already is told once it has been opened."""
        self._memory.watch(prefix, told)

    def refresh(self) -> None:
        """A file that is not there yet is not made: nobody has put anything."""
        connection = self._open() if self._connection is not None or self._store.path.exists() else None
        if connection is not None:
            try:
                self._read_facts(connection)
            except sqlite3.Error as error:
                self._give_up(error)

    def close(self) -> None:
        """Lets go of the file. The next use opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _take(self, connection: sqlite3.Connection, takes: Sequence[Take]) -> float:
        _begin(connection)
        # Only now: whoever waited for the lock must not turn the bucket's clock back.
        now = self._wall()
        buckets = [_bucket(connection, name) for name, _, _ in takes]
        longest = _longest(takes, buckets, now)
        if longest == 0.0:
            for (name, rate, units), bucket in zip(takes, buckets, strict=True):
                _add(connection, name, rate, units, bucket, now)
        elif _are_ahead(buckets, now):
            _turn_back(connection, takes, now)
        connection.execute("COMMIT")
        self._wrote(connection)
        return longest

    def _put(self, connection: sqlite3.Connection, name: str, value: bytes, seconds: float) -> None:
        holds = seconds > 0
        ends = self._wall() + (seconds if holds else _TOMBSTONE)
        row = (_stored(name), value if holds else None, ends, seconds)
        _begin(connection)
        number = connection.execute(_PUT_FACT, row).lastrowid or 0
        connection.execute("COMMIT")
        if number == self._seen + 1:
            self._seen = number
        else:  # others have put some that are yet to be read
            self._own.add(number)
        self._wrote(connection)

    def _read_facts(self, connection: sqlite3.Connection) -> None:
        """Tells the watchers what others have put since the last look."""
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return
        rows = connection.execute(_NEW_FACTS, (self._seen,)).fetchall()
        self._version = version
        now = self._wall()
        for number, name, value, ends, seconds in rows:
            self._seen = number
            if number in self._own:
                continue
            # A clock that was turned back makes no fact hold for longer than it was put for.
            left = min(ends - now, seconds)
            if value is None or left > 0:
                self._memory.put(name, value or b"", 0.0 if value is None else left)
        self._own = {number for number in self._own if number > self._seen}

    def _open(self) -> sqlite3.Connection | None:
        if self._connection is not None:
            return self._connection
        if self._steady() < self._try_at:
            return None
        try:
            connection = self._store.connect(patience=TRIES * PATIENCE)
        except LedgerError as error:
            self._give_up(error)
            return None
        try:
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute(f"PRAGMA busy_timeout={PATIENCE * 1000:.0f}")
            self._sweep(connection)
            # It may be another file by now.
            self._version, self._seen = -1, 0
            self._own.clear()
            self._connection, self.problem = connection, None
            self._read_facts(connection)
        except sqlite3.Error as error:
            self._give_up(error)
        return self._connection

    def _give_up(self, error: sqlite3.Error | LedgerError) -> None:
        """For a while: this process goes on by itself."""
        self.close()
        self._try_at = self._steady() + TRY_AGAIN
        self.problem = (
            f"Limits and the health of endpoints are not shared with other processes: {error} "
            f"Calls go on. {self._store.path} may be deleted: a new one is made."
        )

    def _shares(self, takes: Sequence[Take]) -> Sequence[Take]:
        if self._share == 1.0:
            return takes
        return [(name, Rate(rate.amount * self._share, rate.seconds), units) for name, rate, units in takes]

    def _wrote(self, connection: sqlite3.Connection) -> None:
        self._writes += 1
        if self._writes % SWEEP_EVERY == 0:
            self._sweep(connection)

    def _sweep(self, connection: sqlite3.Connection) -> None:
        now = self._wall()
        _begin(connection)
        connection.execute("DELETE FROM buckets WHERE full_at < ?", (now,))
        connection.execute("DELETE FROM facts WHERE ends < ?", (now,))
        for table, end in (("buckets", "full_at"), ("facts", "ends")):
            connection.execute(_SHRINK.format(table=table, end=end), {"most": MOST})
        connection.execute("COMMIT")


_TOMBSTONE = 3600.0
"""Seconds for which it is remembered that a fact was taken back, for processes that have not looked since."""

_TURNED_BACK = 1.0
"""Seconds by which a bucket must be ahead of the clock to show that the clock was turned back."""

_GET_BUCKET = "SELECT level, at FROM buckets WHERE name = ?"

_SET_BUCKET = "INSERT OR REPLACE INTO buckets (name, level, at, full_at) VALUES (?, ?, ?, ?)"

_PUT_FACT = "INSERT OR REPLACE INTO facts (name, value, ends, seconds) VALUES (?, ?, ?, ?)"

_NEW_FACTS = "SELECT number, name, value, ends, seconds FROM facts WHERE number > ? ORDER BY number"

_SHRINK = (
    "DELETE FROM {table} WHERE name IN "
    f"(SELECT name FROM {{table}} ORDER BY name NOT GLOB '{LESSER}*', {{end}} "
    "LIMIT max(0, (SELECT count(*) FROM {table}) - :most))"
)


def _create_state(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE buckets ("
        " name TEXT PRIMARY KEY,"
        " level REAL NOT NULL,"  # units that were taken and have not leaked out at `at`
        " at REAL NOT NULL,"  # seconds since 1970, UTC; so are the other times
        " full_at REAL NOT NULL"
        ") WITHOUT ROWID"
    )
    connection.execute(
        "CREATE TABLE facts ("
        " number INTEGER PRIMARY KEY AUTOINCREMENT,"  # a new one for each put
        " name TEXT NOT NULL UNIQUE,"
        " value BLOB,"  # NULL: taken back
        " ends REAL NOT NULL,"
        " seconds REAL NOT NULL"
        ")"
    )


def _begin(connection: sqlite3.Connection) -> None:
    """Takes the lock. Raises sqlite3.OperationalError when it cannot be had for a while."""
    for _ in range(TRIES):
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
    connection.execute("BEGIN IMMEDIATE")


_Bucket = tuple[float, float]
"""Its level, and when that was so."""


def _bucket(connection: sqlite3.Connection, name: str) -> _Bucket:
    row: _Bucket | None = connection.execute(_GET_BUCKET, (_stored(name),)).fetchone()
    return row or (0.0, 0.0)


def _longest(takes: Sequence[Take], buckets: Sequence[_Bucket], now: float) -> float:
    longest = 0.0
    for (_, rate, units), (level, at) in zip(takes, buckets, strict=True):
        longest = max(longest, rate.wait(rate.level(level, now - at), units))
    return longest


def _add(connection: sqlite3.Connection, name: str, rate: Rate, units: float, bucket: _Bucket, now: float) -> None:
    level = rate.after(rate.level(bucket[0], now - bucket[1]), units)
    connection.execute(_SET_BUCKET, (_stored(name), level, now, now + level * rate.seconds / rate.amount))


def _are_ahead(buckets: Sequence[_Bucket], now: float) -> bool:
    """The clock was turned back: nothing would leak out of them until the old time has come again."""
    return any(at > now + _TURNED_BACK for _, at in buckets)


def _turn_back(connection: sqlite3.Connection, takes: Sequence[Take], now: float) -> None:
    for name, _, _ in takes:
        connection.execute("UPDATE buckets SET at = ?1 WHERE name = ?2 AND at > ?1", (now, _stored(name)))


def _stored(name: str) -> str:
    """A name may bear what a caller wrote: SQLite takes no lone surrogates."""
    return name if name.isascii() else name.encode(errors="backslashreplace").decode()
