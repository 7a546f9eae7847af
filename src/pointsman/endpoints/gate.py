"""The gate of an endpoint: whether a call may go there now, and what its end tells about the endpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from msgspec import Struct

from ..core import (
    NO_NEEDS,
    NO_TIMEOUTS,
    Ask,
    AttemptError,
    BrokenReply,
    Call,
    CallError,
    Clock,
    Ending,
    ModelGone,
    OutOfCredit,
    Overloaded,
    RateLimited,
    Reply,
    State,
    Unreachable,
    UpstreamTimeout,
)
from ..dialects.limits import remaining
from .accounts import Account, Until, put_until
from .breaker import Breaker
from .concurrency import Concurrency, Outcome
from .learned import Learned
from .load import Load

GONE_FOR = 600.0
"""Seconds for which an endpoint is left alone whose provider does not know the model."""

PATIENT = 5.0
"""Seconds that an endpoint has at least, whatever timeouts a call states, before one is a failure of its own."""


class Closed(Struct, frozen=True):
    """Why no call may pass. `retry_after`: seconds, None where nobody knows."""

    reason: str
    retry_after: float | None
    is_health: bool
    """The endpoint, or its key, is at fault, and not a limit: what a panic threshold may look past."""


class Gate:
    """Of one endpoint: one model at one account. Without a limit it costs a call no look at the State."""

    __slots__ = (
        "name",
        "account",
        "breaker",
        "concurrency",
        "load",
        "learned",
        "_clock",
        "_steady",
        "_state",
        "_fact",
        "_gone_until",
        "_is_telling",
    )

    def __init__(
        self, name: str, account: Account, *, clock: Clock, state: State, concurrency: Concurrency | None = None
    ) -> None:
        self.name = name
        self.account = account
        self.breaker = Breaker(clock.steady)
        self.concurrency = concurrency or Concurrency()
        self.load = Load(clock.steady)
        self.learned = Learned(clock.steady)
        self._clock = clock
        self._steady = clock.steady
        self._state = state
        self._fact = f"endpoint:{name}:"
        self._gone_until = 0.0
        self._is_telling = False
        state.watch(self._fact, self._told)

    def closed(self, tokens: int) -> Closed | None:
        """A look, for a call of so many tokens: why it could not pass, or None. Nothing is taken."""
        sickness = self._sickness()
        if sickness is not None:
            return sickness
        wait = max(self.learned.barred(), self.account.full(tokens))
        if self.concurrency.is_full:
            error = self._crowd()
        elif wait > 0.0:
            error = self._limit(wait)
        else:
            return None
        return Closed(error.message, error.retry_after, is_health=False)

    @property
    def is_open(self) -> bool:
        """A small call could pass now."""
        return self.closed(0) is None

    @property
    def quota_left(self) -> float | None:
        """The share of its account's scarcest limit that is left, 0 to 1; None where no limit is known."""
        return self.account.left

    @property
    def is_healthy(self) -> bool:
        """The breaker is closed or ready for a trial, the key works, the model is there."""
        return self._sickness() is None

    def enter(self, tokens: int, *, hurry: float = 0.0) -> Pass:
        """Lets a call of about so many tokens (read and written) through, or raises why not: RateLimited for a limit or
        a hold-back, Overloaded where too many are in flight. Both bear no upstream status, since nothing was sent, and
        `retry_after`; nothing is taken when it raises.

        Health is looked at where places are chosen (`closed`), not here: where all are out of order, or there is but
        one, it is asked all the same. `hurry`: seconds within which a timeout is no fault of the endpoint.
        """
        if self.concurrency.in_flight >= self.concurrency.bound:
            raise self._crowd()
        wait = self.learned.barred() or self.account.take(tokens)
        if wait > 0.0:
            raise self._limit(wait)
        return Pass(self, tokens, self._steady() + hurry if hurry else 0.0)

    def probed(self) -> None:
        """An active probe that costs nothing was answered: the next call may try the endpoint."""
        self.breaker.probe_now()

    def succeeded(self, ticket: int) -> None:
        if self.breaker.succeeded(ticket):
            self._tell("open", 0.0)

    def blame(self, error: AttemptError, ticket: int) -> Outcome:
        """Books a failure where it belongs: to the key, the account, the model or the endpoint; a caller's own fault
        nowhere. What it tells about concurrency is returned."""
        if isinstance(error, RateLimited):
            self.account.hold_back(error.retry_after)
            self.breaker.abandoned(ticket)
            # One that says when to come back speaks of a rate, not of how many there are at once.
            return "refused" if error.retry_after is None else "other"
        if error.blame == "upstream" and not isinstance(error, ModelGone):
            if self.breaker.failed(ticket):
                reopens_at = self.breaker.reopens_at
                self._tell("open", reopens_at - self._steady() if reopens_at else 0.0)
            return "refused" if isinstance(error, Overloaded) or error.upstream_status == 529 else "other"
        self.breaker.abandoned(ticket)
        if isinstance(error, ModelGone):
            self._gone_until = self._steady() + GONE_FOR
            self._tell("gone", GONE_FOR)
        elif error.blame == "key":
            self.account.key_failed(error)
        return "other"

    @property
    def _gone(self) -> float:
        return max(0.0, self._gone_until - self._steady()) if self._gone_until else 0.0

    def _sickness(self) -> Closed | None:
        if not self.breaker.admits():
            reopens_at = self.breaker.reopens_at
            if reopens_at is None:
                return Closed(f"{self.name} has failed and is being tried by another call.", 1.0, is_health=True)
            seconds = max(0.0, reopens_at - self._steady())
            told = f"{self.name} has failed and is left alone for {_show(seconds)}."
            return Closed(told, seconds, is_health=True)
        if seconds := self._gone:
            told = f"{self.name} is gone: its provider does not know the model. It is asked again in {_show(seconds)}."
            return Closed(told, seconds, is_health=True)
        if seconds := self.account.key_out:
            what = "is out of credit" if self.account.key_error == OutOfCredit.kind else "has its key refused"
            told = f"The account {self.account.name} {what}; it is tried again in {_show(seconds)}."
            return Closed(told, seconds, is_health=True)
        return None

    def _crowd(self) -> AttemptError:
        told = f"{self.name} has {self.concurrency.in_flight} calls in flight, as many as it takes at once."
        return Overloaded(told, retry_after=1.0)

    def _limit(self, wait: float) -> AttemptError:
        what = "asked to be left alone" if self.account.held_back >= 0.9 * wait else "has a limit that is used up"
        told = f"The account {self.account.name}, of {self.name}, {what}: try again in {_show(wait)}."
        return RateLimited(told, retry_after=wait)

    def _tell(self, what: str, seconds: float) -> None:
        self._is_telling = True
        try:
            if seconds > 0.0:
                put_until(self._state, self._fact + what, self._clock, seconds)
            else:
                self._state.put(self._fact + what, b"", 0.0)
        finally:
            self._is_telling = False

    def _told(self, name: str, value: bytes | None) -> None:
        """Another process has found the endpoint failing, in order again, or without its model."""
        if self._is_telling:
            return
        seconds = Until.read(value, self._clock.wall())[0] if value is not None else 0.0
        if name == f"{self._fact}gone":
            self._gone_until = self._steady() + seconds if seconds else 0.0
        elif name == f"{self._fact}open":
            if value is None:
                self.breaker.close()
            elif seconds:
                self.breaker.force_open(seconds)


class Pass:
    """One call that was let through. Of `failed`, `left` and `ended` the first counts, later ones are ignored; one
    that is dropped without any counts as left."""

    __slots__ = ("_gate", "_tokens", "_place", "_ticket", "_mark", "_hurried_until", "_is_done")

    def __init__(self, gate: Gate, tokens: int, hurried_until: float) -> None:
        self._gate = gate
        self._tokens = tokens
        self._place = gate.concurrency.enter()
        self._ticket = gate.breaker.begin()
        self._mark = gate.learned.sent(tokens)
        self._hurried_until = hurried_until
        gate.load.in_flight += 1
        self._is_done = False

    def began(self, ttft: float | None, headers: Mapping[str, str]) -> None:
        """The reply has begun, or is whole."""
        gate = self._gate
        gate.account.key_worked()
        if ttft is not None:
            gate.load.saw(ttft)
        left = remaining(headers, gate._clock.wall())
        if left is not None:
            gate.learned.saw(left, self._mark)

    def failed(self, error: AttemptError) -> None:
        """No reply came. What the upstream may have worked on all the same stays counted."""
        if self._is_done:
            return
        self._leave(self._blame(error))
        if isinstance(error, Unreachable):
            self._gate.account.unsent(self._tokens)
        elif not isinstance(error, UpstreamTimeout | BrokenReply):
            self._gate.account.settle(self._tokens, 0)

    def left(self, *, sent: bool = True) -> None:
        """The caller left before a reply came. `sent` is False where nothing had gone out."""
        if self._is_done:
            return
        self._gate.breaker.abandoned(self._ticket)
        self._leave("other")
        if not sent:
            self._gate.account.unsent(self._tokens)

    def ended(self, ending: Ending) -> None:
        if self._is_done:
            return
        gate = self._gate
        if ending.status == "ok":
            gate.succeeded(self._ticket)
            self._leave("ok")
        elif ending.error is not None:
            self._leave(self._blame(ending.error))
        else:
            gate.breaker.abandoned(self._ticket)
            self._leave("other")
        usage = ending.usage
        if usage is not None and gate.account.counts_tokens:
            gate.account.settle(self._tokens, usage.all_tokens())

    def __del__(self) -> None:
        if not self._is_done:
            self.left()

    def _blame(self, error: AttemptError) -> Outcome:
        gate = self._gate
        if self._hurried_until and isinstance(error, UpstreamTimeout) and gate._steady() < self._hurried_until:
            gate.breaker.abandoned(self._ticket)
            return "other"
        return gate.blame(error, self._ticket)

    def _leave(self, outcome: Outcome) -> None:
        gate = self._gate
        self._is_done = True
        gate.concurrency.leave(self._place, outcome)
        gate.load.in_flight -= 1


def guarded(ask: Ask, gate: Gate, tokens: Callable[[Call], int]) -> Ask:
    """`ask` behind the gate. `tokens` tells how many a call will read and write, about."""

    async def attempt(call: Call) -> Reply:
        hurry = 0.0 if call.needs is NO_NEEDS and call.timeouts is NO_TIMEOUTS else _hurry(call)
        passed = gate.enter(tokens(call), hurry=hurry)
        try:
            reply = await ask(call)
        except AttemptError as error:
            passed.failed(error)
            raise
        except CallError:
            passed.left(sent=False)
            raise
        except BaseException:
            passed.left()
            raise
        passed.began(reply.ttft, reply.headers)
        reply.on_end(passed.ended)
        return reply

    return attempt


def _hurry(call: Call) -> float:
    """A deadline that the caller has set must not put the endpoint out for others."""
    if call.needs.max_latency is not None:
        return math.inf
    return PATIENT if call.timeouts is not NO_TIMEOUTS else 0.0


def _show(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1f} s"
