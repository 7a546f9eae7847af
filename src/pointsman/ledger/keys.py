"""Virtual keys: made, listed, revoked, and verified in memory.

A key is `pm-` + id + `-` + 256 random bits. The ledger holds its HMAC under a pepper that lies in a file beside it:
neither of the two alone is of use to a thief.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from fnmatch import translate
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from ..core import Clock, InvalidCall, LedgerError, Nanos
from .store import Store

Scope = Literal["call", "read", "admin"]
Window = Literal["day", "month"]

PREFIX = "pm-"
CHECK_EVERY = 1.0
"""Seconds for which a KeyRing trusts what it has read."""
STALE_AFTER = 2.0
MOST_PATTERNS = 100
MOST_A_MINUTE = 1_000_000_000_000

_SECRET_BYTES = 32
_NO_DIGEST = bytes(hashlib.sha256().digest_size)


class Key(Struct, frozen=True):
    """What is known about a key; it cannot be recovered from this. Times in unix seconds."""

    id: str
    name: str
    created: float
    scopes: frozenset[Scope]
    expires: float | None = None
    revoked: float | None = None
    models: tuple[str, ...] = ()
    """Shell-style patterns of what a call may name as its model; () is everything."""
    requests_per_minute: int | None = None
    """Its own limit, instead of the one that the configuration states for every key; so is the next."""
    tokens_per_minute: int | None = None
    budget: Nanos | None = None
    """What all its calls may cost in each `budget_window`."""
    budget_window: Window = "month"
    user: str = ""
    """The user for whom all its calls count, whatever their bodies say; '' is whom the body names."""

    def may_name(self, model: str) -> bool:
        return not self.models or _any_of(self.models)(model) is not None


class Keys:
    """The keys in the ledger. All methods raise LedgerError when it cannot be read or written."""

    def __init__(
        self, store: Store, pepper: Path, *, wall: Callable[[], float], random_bytes: Callable[[int], bytes]
    ) -> None:
        self._store = store
        self._pepper = pepper
        self._wall = wall
        self._random_bytes = random_bytes

    def create(
        self,
        name: str,
        *,
        scopes: Iterable[Scope] = ("call", "read"),
        expires: float | None = None,
        models: Iterable[str] = (),
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        budget: Nanos | None = None,
        budget_window: Window = "month",
        user: str = "",
    ) -> tuple[str, Key]:
        """The key itself, which is shown once and kept nowhere, and what is known about it. Raises InvalidCall."""
        key = Key(
            id=base64.b32encode(self._random_bytes(5)).decode().lower(),
            name=_checked_text(name, "name"),
            created=self._wall(),
            scopes=_checked_scopes(scopes),
            expires=expires,
            models=_checked_models(models),
            requests_per_minute=_checked_amount(requests_per_minute, "requests_per_minute"),
            tokens_per_minute=_checked_amount(tokens_per_minute, "tokens_per_minute"),
            budget=_checked_budget(budget),
            budget_window=_checked_window(budget_window),
            user=user and _checked_text(user, "user"),
        )
        secret = base64.urlsafe_b64encode(self._random_bytes(_SECRET_BYTES)).decode().rstrip("=")
        text = f"{PREFIX}{key.id}-{secret}"
        with self._store.explaining("written"), closing(self._store.connect()) as connection:
            pepper = read_pepper(self._pepper) or self._make_pepper(connection)
            connection.execute(_INSERT, (*_row(key), digest_of(text, pepper)))
        return text, key

    def list(self) -> list[Key]:
        """All keys, revoked ones too, the oldest first."""
        with self._store.explaining("read"), closing(self._store.connect()) as connection:
            return [key for key, _ in read_keys(connection)]

    def revoke(self, id_or_name: str) -> Key:
        """Revokes one key for good; servers notice within two seconds. Raises InvalidCall when none, or more than one,
        is meant."""
        meant = [key for key in self.list() if key.id == id_or_name]
        meant = meant or [key for key in self.list() if key.name == id_or_name and key.revoked is None]
        if len(meant) != 1:
            found = f"{len(meant)} keys are named" if meant else "There is no key"
            raise InvalidCall(f"{found} {id_or_name!r}. `pointsman keys list` shows the ids.", param="key")
        with self._store.explaining("written"), closing(self._store.connect()) as connection:
            sql = "UPDATE keys SET revoked = coalesce(revoked, ?) WHERE id = ?"
            connection.execute(sql, (self._wall(), meant[0].id))
        return next(key for key in self.list() if key.id == meant[0].id)

    def _make_pepper(self, connection: sqlite3.Connection) -> bytes:
        """Two processes that make the first key at once end up with the same pepper."""
        if connection.execute("SELECT 1 FROM keys WHERE revoked IS NULL LIMIT 1").fetchone():
            raise LedgerError(_lost(self._pepper))
        partial = self._pepper.with_name(f"{self._pepper.name}.{self._random_bytes(8).hex()}")
        file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(file, "wb") as opened:
                opened.write(self._random_bytes(_SECRET_BYTES))
                opened.flush()
                os.fsync(opened.fileno())
            with suppress(FileExistsError):
                os.link(partial, self._pepper)
        finally:
            partial.unlink()
        pepper = read_pepper(self._pepper)
        assert pepper is not None, "it has just been linked"
        return pepper


class KeyRing:
    """Verifies keys in memory for a server. For one thread.

    A new key works at once, a revoked one stops within CHECK_EVERY. When the ledger can't be read, the ring trusts
    what it has for STALE_AFTER, and then refuses with a LedgerError.
    """

    def __init__(self, store: Store, pepper: Path, clock: Clock) -> None:
        self._store = store
        self._pepper_path = pepper
        self._clock = clock
        self._pepper = b""
        self._keys: dict[str, tuple[Key, bytes]] = {}
        self._connection: sqlite3.Connection | None = None
        self._seen = -1
        self._checked = float("-inf")

    def verify(self, text: str) -> Key | None:
        """The key, if it is one of ours that is neither revoked nor expired; in the same time whichever it is."""
        if self._clock.steady() - self._checked > CHECK_EVERY:
            self._refresh()
        key_id = _id_in(text)
        if key_id not in self._keys and key_id:
            self._refresh()
        key, digest = self._keys.get(key_id, (None, _NO_DIGEST))
        same = hmac.compare_digest(digest_of(text, self._pepper), digest)
        if not same or key is None or key.revoked is not None:
            return None
        return key if key.expires is None or self._clock.wall() < key.expires else None

    def close(self) -> None:
        connection, self._connection, self._seen = self._connection, None, -1
        if connection is not None:
            connection.close()

    def _refresh(self) -> None:
        now = self._clock.steady()
        try:
            with self._store.explaining("read"):
                self._read()
            self._checked = now
        except LedgerError:
            self.close()
            if now - self._checked > STALE_AFTER:
                raise

    def _read(self) -> None:
        if self._connection is None:
            self._connection = self._store.connect(patience=0.1)
        seen = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if seen == self._seen:
            return
        keys = {key.id: (key, digest) for key, digest in read_keys(self._connection)}
        pepper = read_pepper(self._pepper_path)
        if pepper is None and any(key.revoked is None for key, _ in keys.values()):
            raise LedgerError(_lost(self._pepper_path))
        self._keys, self._pepper, self._seen = keys, pepper or b"", seen


def digest_of(text: str, pepper: bytes) -> bytes:
    return hmac.digest(pepper, text.encode("utf-8", "replace"), "sha256")


def read_pepper(path: Path) -> bytes | None:
    """None where there is no such file. Raises LedgerError for one that is not a pepper."""
    try:
        pepper = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(pepper) != _SECRET_BYTES:
        raise LedgerError(f"{path} is damaged: {len(pepper)} bytes instead of {_SECRET_BYTES}. Put a backup there.")
    return pepper


def read_keys(connection: sqlite3.Connection) -> list[tuple[Key, bytes]]:
    """Each key with its digest, the oldest first."""
    return [_key(*row) for row in connection.execute(_SELECT).fetchall()]


_COLUMNS = (
    *("id", "name", "scopes", "created", "expires"),
    *("models", "requests_per_minute", "tokens_per_minute", "budget", "budget_window", "user"),
)
"""Each by its name: what else may come to stand in the table is no right."""
_INSERT = f"INSERT INTO keys ({', '.join(_COLUMNS)}, digest) VALUES ({'?, ' * len(_COLUMNS)}?)"
_SELECT = f"SELECT digest, revoked, {', '.join(_COLUMNS)} FROM keys ORDER BY created, id"


def _row(key: Key) -> tuple[object, ...]:
    values = {column: getattr(key, column) for column in _COLUMNS}
    values["scopes"] = " ".join(sorted(key.scopes))
    values["models"] = msgspec.json.encode(key.models).decode()
    return tuple(values.values())


def _key(digest: bytes, revoked: float | None, *row: object) -> tuple[Key, bytes]:
    """Raises LedgerError for a row that does not hold what we write: no right is guessed."""
    values = dict(zip(_COLUMNS, row, strict=True))
    try:
        values["scopes"] = str(values["scopes"]).split()
        values["models"] = msgspec.json.decode(str(values["models"]))
        return msgspec.convert({**values, "revoked": revoked}, Key), digest
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise LedgerError(
            f"What the ledger says of the key {values['id']!r} is damaged: {error}. Put a backup in its place."
        ) from error


def _id_in(text: str) -> str:
    parts = text.split("-", 2)
    return parts[1] if len(parts) == 3 and text.startswith(PREFIX) else ""


@lru_cache(maxsize=1024)
def _any_of(patterns: tuple[str, ...]) -> Callable[[str], re.Match[str] | None]:
    """The names that callers send are not cached: they may be of any length, and ever new."""
    return re.compile("|".join(map(translate, patterns))).match


def _checked_text(text: str, what: str, param: str = "") -> str:
    if not 0 < len(text) <= 100 or not text.isprintable() or text != text.strip():
        raise InvalidCall(f"{text!r} is no {what} for a key: 1 to 100 printable characters are.", param=param or what)
    return text


def _checked_models(models: Iterable[str]) -> tuple[str, ...]:
    patterns = tuple(dict.fromkeys(models))
    if len(patterns) > MOST_PATTERNS:
        raise InvalidCall(f"A key may have {MOST_PATTERNS} patterns of models, not {len(patterns)}.", param="models")
    return tuple(_checked_text(pattern, "pattern of models", "models") for pattern in patterns)


def _checked_amount(amount: int | None, what: str) -> int | None:
    if amount is not None and not 1 <= amount <= MOST_A_MINUTE:
        raise InvalidCall(f"{what} is {amount}: it may be from 1 to {MOST_A_MINUTE:,}.", param=what)
    return amount


def _checked_budget(budget: Nanos | None) -> Nanos | None:
    if budget is not None and not 0 <= budget < 2**63:
        raise InvalidCall(f"A key's budget is an amount of money from 0 up, not {budget} nano-dollars.", param="budget")
    return budget


def _checked_window(window: Window) -> Window:
    if window not in get_args(Window):
        raise InvalidCall(f"A key's budget is for a day or a month, not for {window!r}.", param="budget_window")
    return window


def _checked_scopes(scopes: Iterable[str]) -> frozenset[Scope]:
    wanted = set(scopes)
    known: frozenset[Scope] = frozenset(scope for scope in get_args(Scope) if scope in wanted)
    if not wanted or len(known) != len(wanted):
        raise InvalidCall(
            f"A key may have the scopes {', '.join(get_args(Scope))}; asked was for {sorted(wanted)}.", param="scopes"
        )
    return known


def _lost(pepper: Path) -> str:
    return (
        f"There are keys, but the file {pepper} that they were made with is gone. Put it back from a backup, or revoke "
        "the keys and make new ones."
    )
