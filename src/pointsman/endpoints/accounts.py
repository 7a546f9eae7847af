"""An account at a provider: its limits, and whether its key works. All keys of one account share them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from ..core import AttemptError, Clock, Rate, State, Take

LEAST_HOLD = 0.05
LONGEST_HOLD = 86400.0
FIRST_HOLD = 1.0
"""Seconds after a 429 that does not say how long to wait; doubled while they go on, up to MOST_GUESSED."""
MOST_GUESSED = 60.0
KEY_OUT = 30.0
"""Seconds for which a refused key is left alone; doubled while it is refused, up to KEY_OUT_LONGEST."""
KEY_OUT_LONGEST = 600.0


class Limits(Struct, frozen=True):
    """What the configuration or a free tier states. None means that the limit is not known, not that there is none.
    Raises ValueError for one that is not above 0."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    requests_per_day: float | None = None
    tokens_per_day: float | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value:g}: a limit is above 0, or left out.")


class Until(Struct, frozen=True, array_like=True):
    """A fact as it is shared: it holds until `at` (wall clock), which was `seconds` off when it was stated."""

    at: float
    seconds: float
    why: str = ""

    @classmethod
    def read(cls, value: bytes, wall: float) -> tuple[float, str]:
        """The seconds left, and why; (0.0, '') for what cannot be read. A clock that was turned back makes nothing
        last longer than it was meant to."""
        try:
            until = _until.decode(value)
        except msgspec.DecodeError:
            return 0.0, ""
        return max(0.0, min(until.at - wall, until.seconds)), until.why


_until = msgspec.json.Decoder(Until)


def put_until(state: State, name: str, clock: Clock, seconds: float, why: str = "") -> None:
    """States a fact that others can tell the end of."""
    state.put(name, msgspec.json.encode(Until(clock.wall() + seconds, seconds, why)), seconds)


class Account:
    """The limits that are configured or of a free tier are shared through the State, and so is what a 429 or a refused
    key told. An account without limits writes nothing there for a call."""

    __slots__ = (
        "name",
        "_state",
        "_clock",
        "_steady",
        "_requests",
        "_tokens",
        "_held_until",
        "_guess",
        "_key_out_until",
        "_key_out_for",
        "_key_why",
        "_fact",
        "_held_fact",
        "_is_limited",
        "counts_tokens",
    )

    def __init__(self, name: str, limits: Limits, state: State, clock: Clock, *, model: str = "") -> None:
        """`model`: the one that this view of the account is for. All views share its limits and its key; what a 429
        holds back is that model, since providers count each by itself."""
        self.name = name
        self._state = state
        self._clock = clock
        self._steady = clock.steady
        self._fact = f"account:{name}:"
        self._held_fact = f"{self._fact}held:{model}"
        self._requests = _rates_of(self._fact, "requests", limits.requests_per_minute, limits.requests_per_day)
        self._tokens = _rates_of(self._fact, "tokens", limits.tokens_per_minute, limits.tokens_per_day)
        self._is_limited = bool(self._requests or self._tokens)
        self.counts_tokens = bool(self._tokens)
        self._held_until = 0.0
        self._guess = FIRST_HOLD
        self._key_out_until = 0.0
        self._key_out_for = KEY_OUT
        self._key_why = ""
        state.watch(self._fact, self._told)

    def full(self, tokens: int) -> float:
        """Seconds until a call of so many tokens fits; 0.0 now. Nothing is taken."""
        seconds = self.held_back
        if self._is_limited:
            seconds = max(seconds, self._state.wait(self._takes(tokens)))
        return seconds

    @property
    def left(self) -> float | None:
        """The share of its scarcest limit that is left, 0 to 1; None where no limit is known."""
        used = [self._state.wait([(name, rate, rate.amount)]) / rate.seconds for name, rate in self._rates]
        return 1 - max(used) if used else None

    def take(self, tokens: int) -> float:
        """0.0 when the call was let through and counted, else the seconds until one of that size fits."""
        seconds = self.held_back if self._held_until else 0.0
        if self._is_limited and seconds == 0.0:
            seconds = self._state.take(self._takes(tokens))
        return seconds

    def settle(self, reserved_tokens: int, used_tokens: int) -> None:
        """Gives back what a call used less than it took, and takes what it used more."""
        if reserved_tokens != used_tokens:
            for name, rate in self._tokens:
                # A bucket never took more than it holds.
                self._state.give(name, rate, min(reserved_tokens, rate.amount) - used_tokens)

    def unsent(self, reserved_tokens: int) -> None:
        """Gives back all that a call took which never left this machine."""
        for name, rate in self._requests:
            self._state.give(name, rate, 1.0)
        self.settle(reserved_tokens, 0)

    @property
    def held_back(self) -> float:
        """Seconds for which nothing should be sent after a 429; 0.0 for none."""
        return max(0.0, self._held_until - self._steady()) if self._held_until else 0.0

    def hold_back(self, seconds: float | None) -> None:
        """After a 429. `seconds`: what it asked for, None where it did not say."""
        now = self._steady()
        if seconds is None:
            # Of all the calls that were refused at once only the first doubles.
            seconds = self._guess if now >= self._held_until else self._held_until - now
            if now >= self._held_until:
                self._guess = min(2 * self._guess, MOST_GUESSED)
        seconds = min(max(seconds, LEAST_HOLD), LONGEST_HOLD)
        later = now + seconds - self._held_until
        self._held_until = max(self._held_until, now + seconds)
        if later > 0.1 * seconds:  # else the other processes know it nearly as well already
            put_until(self._state, self._held_fact, self._clock, seconds)

    @property
    def key_out(self) -> float:
        """Seconds for which the key is left alone; 0.0 while it is thought to work."""
        return max(0.0, self._key_out_until - self._steady()) if self._key_out_until else 0.0

    @property
    def key_error(self) -> str:
        """The kind of error for which the key is out; '' while it is not."""
        return self._key_why

    def key_failed(self, error: AttemptError) -> None:
        """The provider refused the key, or the account behind it (401, 402, 403)."""
        if self.key_out > 0.0:
            return
        seconds, self._key_out_for = self._key_out_for, min(2 * self._key_out_for, KEY_OUT_LONGEST)
        self._key_out_until = self._steady() + seconds
        self._key_why = error.kind
        put_until(self._state, f"{self._fact}key", self._clock, seconds, error.kind)

    def key_worked(self) -> None:
        """A call was served: the key is fine, and the next 429 without a Retry-After is the first of its row."""
        self._guess = FIRST_HOLD
        if self._key_out_until:
            self._key_works()
            self._state.put(f"{self._fact}key", b"", 0.0)

    @property
    def _rates(self) -> Sequence[tuple[str, Rate]]:
        return (*self._requests, *self._tokens)

    def _takes(self, tokens: int) -> list[Take]:
        takes = [(name, rate, 1.0) for name, rate in self._requests]
        takes += [(name, rate, float(tokens)) for name, rate in self._tokens]
        return takes

    def _told(self, name: str, value: bytes | None) -> None:
        """Another process, or this one, has put or taken back a fact."""
        seconds, why = Until.read(value, self._clock.wall()) if value is not None else (0.0, "")
        until = self._steady() + seconds
        if name == self._held_fact:
            self._held_until = max(self._held_until, until) if seconds else self._held_until
        elif name == f"{self._fact}key":
            if value is None:
                self._key_works()
            elif seconds and until > self._key_out_until:
                self._key_out_until = until
                self._key_why = why

    def _key_works(self) -> None:
        self._key_out_until = 0.0
        self._key_out_for = KEY_OUT
        self._key_why = ""


def _rates_of(start: str, what: str, a_minute: float | None, a_day: float | None) -> tuple[tuple[str, Rate], ...]:
    spans = (("minute", a_minute, 60.0), ("day", a_day, 86400.0))
    return tuple(
        (f"{start}{what}:{span}", Rate(amount, seconds)) for span, amount, seconds in spans if amount is not None
    )
