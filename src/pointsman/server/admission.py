"""Who is let in: so many calls at once, so many requests and tokens a minute for each key, and the models it may name.

admitted = admission.enter(key, tokens, model)     # raises Forbidden, Busy or OverLimit, and has taken nothing then
try:
    …                                              # the call
finally:
    admitted.settle(used_tokens)                   # None: not known
"""

from __future__ import annotations

from ..core import Busy, Forbidden, OverLimit, Rate, State, Take
from ..gateway.specs import KeyLimitsSpec, ServerLimitsSpec
from ..ledger import Key

MINUTE = 60.0
RETRY_AFTER = 1.0
"""Seconds after which a full server is to be tried again."""
MOST_SHOWN = 10
"""Patterns of models that a refusal names, and ten times as many characters of the model that was asked for."""


class Admission:
    """The bounds of this process's door. For one thread."""

    __slots__ = ("in_flight", "_most", "_defaults", "state", "_meters")

    def __init__(self, limits: ServerLimitsSpec, state: State) -> None:
        self.in_flight = 0
        """Calls that were let in and are not settled."""
        self._most = limits.server
        self._defaults = limits.keys
        self.state = state
        self._meters: dict[str, _Meter] = {}
        """By the key's id: as many as there are keys."""

    def enter(self, key: Key, tokens: int, model: str) -> Admitted:
        """`tokens`: the most that the call is expected to use, prompt and answer together. A call of more than the key
        has in a minute is let in when the key's bucket is full, and empties it.

        Raises Forbidden, Busy or OverLimit; a call that is refused takes nothing.
        """
        if key.models:
            check_name(key, model)
        if self.in_flight >= self._most:
            raise Busy(
                f"{self.in_flight:,} calls are under way, as many as the server takes at once (`limits.server`). Try "
                "again shortly.",
                retry_after=RETRY_AFTER,
            )
        meter = self._meters.get(key.id)
        if meter is None or meter.key is not key:
            meter = self._meters[key.id] = _Meter(key, self._defaults)
        return Admitted(self, meter, meter.take(self.state, tokens) if meter.is_limited else 0)


def check_name(key: Key, model: str) -> None:
    """Raises Forbidden where a key's `--models` do not have what `model` is to be."""
    if not key.may_name(model):
        shown = ", ".join(key.models[:MOST_SHOWN]) + (", …" if len(key.models) > MOST_SHOWN else "")
        raise Forbidden(
            f"The key {key.name!r} may not name the model {model[: 10 * MOST_SHOWN]!r}: it may name {shown}."
        )


class Admitted:
    """The place of one call that was let in. One that is dropped unsettled frees its place, and its tokens count as
    used."""

    __slots__ = ("_admission", "_meter", "_taken")

    def __init__(self, admission: Admission, meter: _Meter, taken: float) -> None:
        self._meter = meter
        self._taken = taken
        """Tokens: no more than a full bucket, whatever was asked for. More must not be given back either."""
        self._admission: Admission | None = admission
        admission.in_flight += 1

    def settle(self, used_tokens: int | None) -> None:
        """The call is over. What it did not use of its tokens is at hand again, what it used beyond them is taken, and
        with None (not known) all of them count as used; the request counts either way. Only the first settle counts."""
        admission = self._admission
        if admission is None:
            return
        self._admission = None
        admission.in_flight -= 1
        meter = self._meter
        if used_tokens is not None and meter.tokens is not None:
            left = self._taken - used_tokens if used_tokens > 0 else self._taken
            if left:
                admission.state.give(meter.bucket, meter.tokens, left)

    def __del__(self) -> None:
        # Nothing else but the number: this may run anywhere, in the middle of a `take` too.
        if self._admission is not None:
            self._admission.in_flight -= 1


class _Meter:
    """The limits of one key, ready for use."""

    __slots__ = ("key", "tokens", "bucket", "is_limited", "_request")

    def __init__(self, key: Key, defaults: KeyLimitsSpec) -> None:
        self.key = key
        self.tokens = _a_minute(key.tokens_per_minute, defaults.tokens_per_minute)
        self.bucket = f"key:{key.id}:tokens"
        requests = _a_minute(key.requests_per_minute, defaults.requests_per_minute)
        self._request: tuple[Take, ...] = ((f"key:{key.id}:requests", requests, 1),) if requests else ()
        self.is_limited = bool(self._request) or self.tokens is not None

    def take(self, state: State, tokens: int) -> float:
        """The tokens that were taken. Raises OverLimit."""
        if self.tokens is None:
            taken, takes = 0.0, self._request
        else:
            # An estimate below 0, made of what a caller stated, must not fill the bucket.
            most = self.tokens.amount
            taken = 0.0 if tokens < 0 else tokens if tokens < most else most
            takes = (*self._request, (self.bucket, self.tokens, taken))
        wait = state.take(takes)
        if wait > 0:
            raise OverLimit(self._refusal(state, takes, wait), retry_after=wait)
        return taken

    def _refusal(self, state: State, takes: tuple[Take, ...], wait: float) -> str:
        name, rate, units = max(takes, key=lambda take: state.wait((take,)))
        what, asked = ("tokens", f", and this call needs {units:,.0f}") if name == self.bucket else ("requests", "")
        return (
            f"The key {self.key.name!r} may send {rate.amount:,.0f} {what} a minute{asked}. Try again in "
            f"{max(wait, 0.1):.1f} s."
        )


def _a_minute(own: int | None, default: int | None) -> Rate | None:
    amount = default if own is None else own
    return None if amount is None else Rate(amount, MINUTE)
