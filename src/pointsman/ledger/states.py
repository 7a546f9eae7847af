"""What was learned, kept as numbered versions. Whoever learns from version n adds version n + 1; of two that do so at
once one is told that it came too late, and begins again from the other's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from math import isfinite
from typing import Final

from msgspec import Struct

from ..core import InvalidCall
from .feedback import Graded, mark_learned
from .store import Store, writing

KEPT: Final = 20
"""Versions."""


class StoredState(Struct, frozen=True):
    version: int
    """From 1."""
    at: float
    """Unix seconds."""
    through: int
    """Number of the last feedback that is in it."""
    state: bytes


class States:
    """May be used from any thread. All raise LedgerError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def latest(self) -> StoredState | None:
        """None where nothing was learned."""
        return next(iter(self.kept(1)), None)

    def kept(self, most: int = KEPT) -> list[StoredState]:
        """The newest first. A ledger that is not there yet is not made."""
        if not self._store.path.exists():
            return []
        with self._store.explaining("read"), closing(self._store.connect()) as connection:
            return [_stored(*row) for row in connection.execute(_KEPT, (most,))]

    def add(self, state: StoredState, learned: Sequence[Graded] = ()) -> bool:
        """False where that version, or a later one, is there already: then nothing was changed. The last KEPT versions
        are kept. `learned`: the grades that are in it, and were not in the version before, or not as they are now."""
        if state.version < 1 or state.through < 0 or not isfinite(state.at):
            raise InvalidCall(f"A state's version is from 1, not {state.version}; and it has a time and a number.")
        values = (state.version, state.at, state.through, bytearray(state.state), state.version)
        with (
            self._store.explaining("written"),
            closing(self._store.connect()) as connection,
            writing(connection),
        ):
            is_new = connection.execute(_ADD, values).rowcount == 1
            if is_new:
                mark_learned(connection, learned)
            connection.execute(_PRUNE, (KEPT,))
        return is_new


def _stored(version: int, at: object, through: object, state: object) -> StoredState:
    """SQLite keeps what it is given: of a row with something else in it than was stored there, nothing is believed."""
    if isinstance(at, float) and isinstance(through, int) and through >= 0 and isinstance(state, bytes):
        return StoredState(version, at, through, state)
    return StoredState(version, 0.0, 0, b"")


_KEPT = "SELECT version, at, through, state FROM states ORDER BY version DESC LIMIT ?"
_ADD = "INSERT INTO states SELECT ?, ?, ?, ? WHERE ? > (SELECT coalesce(max(version), 0) FROM states)"
_PRUNE = "DELETE FROM states WHERE version NOT IN (SELECT version FROM states ORDER BY version DESC LIMIT ?)"
