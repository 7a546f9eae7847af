"""The plainest strategy: one model answers; where one fails before it has begun, the next in the plan is asked.

This is the only loop that tries again. Pools and routes give it their order, and where they nest they share the call's
tally, so attempts never multiply: a call makes at most `Retries.most_attempts` of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from ..core import (
    Ask,
    AttemptError,
    BrokenReply,
    Call,
    CallError,
    CallRejected,
    Clock,
    ContentFiltered,
    ContextTooLong,
    KeyRejected,
    NoCandidate,
    OverBudget,
    Overloaded,
    RateLimited,
    Reply,
    Tally,
    Unreachable,
    UpstreamFailed,
)

LONGEST_WAIT = 60.0
"""Seconds. An upstream that asks for a longer pause has refused the call."""


class Choice(Struct, frozen=True):
    """One place to try. What is not known of it is None or ''."""

    name: str
    """Unique within its plan."""
    ask: Ask
    door: str = ""
    """Those of one door are out of reach together, and share one key and one content policy."""
    context: int | None = None


Plan = Callable[[Call], Sequence[Choice]]
"""The places to try for a call, the best first; asked anew for each round."""


class Retries:
    """How often calls are tried again. One for a process: the pauses of all calls draw on one budget.

    A plan is gone through once without a pause. Then, up to `most_rounds` times, after a pause (full jitter over
    0.5 s · 2ⁿ up to 8 s, on top of what the upstream's Retry-After asks for) and only while fewer than `share` of the
    calls that are under way (but `floor` always) are being tried again.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
        uniform: Callable[[float, float], float],
        total: float,
        most_attempts: int = 6,
        most_rounds: int = 2,
        share: float = 0.2,
        floor: int = 3,
    ) -> None:
        """`total`: seconds that a call may take which states no limit."""
        self.clock = clock
        self.sleep = sleep
        self.uniform = uniform
        self.total = total
        self.most_attempts = most_attempts
        self.most_rounds = most_rounds
        self._share = share
        self._floor = floor
        self.under_way = 0
        self.again = 0
        """Calls that are being tried again now."""

    def deadline(self, call: Call) -> float:
        """When the call must have ended, in steady seconds: set when it sets out, and shared by all its attempts."""
        total, tally, steady = call.timeouts.total, call.tally, self.clock.steady
        deadline = steady() + (self.total if total is None else total)
        if tally.deadline is not None and tally.deadline < deadline:
            deadline = tally.deadline
        tally.deadline = deadline
        return deadline

    def pause(self, tally: Tally, failures: Sequence[AttemptError], deadline: float) -> float | None:
        """Seconds until another round is worth it; None where none is, or where there is no room for one."""
        waits = [wait for failure in failures if (wait := _wait(failure)) is not None]
        if not waits or tally.rounds >= self.most_rounds or tally.attempts >= self.most_attempts:
            return None
        if not tally.rounds and self.again >= max(self._floor, self._share * self.under_way):
            return None
        pause = min(waits) + self.uniform(0, min(8.0, 0.5 * 2**tally.rounds))
        return pause if self.clock.steady() + pause < deadline else None


def single(plan: Plan, retries: Retries) -> Ask:
    """An Ask that tries the plan in order, up to the commit point.

    Raises at once what every other place would refuse as well; else the most telling failure, or NoCandidate (with
    every reason) where nobody could be asked.
    """

    async def ask(call: Call) -> Reply:
        deadline = retries.deadline(call)
        tally = call.tally
        is_outermost = tally.plans == 0
        tally.plans += 1
        if is_outermost:
            retries.under_way += 1
        try:
            choices = plan(call)
            first = choices[0]
            ask_first = first.ask
            try:
                return await ask_first(call)  # nearly always this is all
            except (AttemptError, NoCandidate, OverBudget) as error:
                trial = _Trial(call, plan, retries, deadline)
                trial.note(first, error)
            return await trial.go_on(choices[1:])
        finally:
            tally.plans -= 1
            if is_outermost:
                retries.under_way -= 1

    return ask


class _Trial:
    """One call on its way through plans, and what came of it so far."""

    def __init__(self, call: Call, plan: Plan, retries: Retries, deadline: float) -> None:
        self._call = call
        self._plan = plan
        self._retries = retries
        self._deadline = deadline
        self._failed: list[tuple[Choice, AttemptError]] = []
        self._latest: list[AttemptError] = []
        """The failures of this time through."""
        self._refused: list[CallError] = []

    def note(self, choice: Choice, error: AttemptError | CallError) -> None:
        """Raises what every other place would refuse as well."""
        if isinstance(error, CallError):
            self._refused.append(error)
            return
        if is_final(error):
            raise error
        self._failed.append((choice, error))
        self._latest.append(error)

    async def go_on(self, others: Sequence[Choice]) -> Reply:
        """With the rest of the plan, and then with all of it again."""
        reply = await self._go_through(others)
        # A plan within a plan: the places of the outer one come before any second try here.
        if reply is None and self._call.tally.plans == 1:
            reply = await self._again()
        if reply is None:
            raise most_telling([error for _, error in self._failed], self._refused)
        return reply

    async def _again(self) -> Reply | None:
        retries, tally = self._retries, self._call.tally
        reply = None
        try:
            while reply is None:
                pause = retries.pause(tally, self._latest, self._deadline)
                if pause is None:
                    return None
                retries.again += tally.rounds == 0
                tally.rounds += 1
                self._latest = []
                await retries.sleep(pause)
                reply = await self._go_through(self._plan(self._call))
            return reply
        finally:
            retries.again -= tally.rounds > 0

    async def _go_through(self, choices: Sequence[Choice]) -> Reply | None:
        """The reply of the first that gives one; None when all have failed."""
        for choice in choices:
            if self._failed and (self._is_over() or any(_rules_out(choice, *failed) for failed in self._failed)):
                continue
            try:
                return await choice.ask(self._call)
            except (AttemptError, NoCandidate, OverBudget) as error:
                self.note(choice, error)
        return None

    def _is_over(self) -> bool:
        if self._call.tally.attempts >= self._retries.most_attempts:
            return True
        return self._retries.clock.steady() >= self._deadline


def most_telling(failed: Sequence[AttemptError], refused: Sequence[CallError]) -> AttemptError | CallError:
    """Of all that kept a call from being answered what to raise: a failure that tells of a fault, else the limit that
    ends first, else why nobody was asked."""
    faults = [error for error in failed if not isinstance(error, RateLimited | Overloaded)]
    if faults:
        return faults[-1]
    if failed:
        return min(failed, key=lambda error: LONGEST_WAIT if error.retry_after is None else error.retry_after)
    if len(refused) == 1:
        return refused[0]
    for error in refused:
        if isinstance(error, OverBudget):
            return error
    reasons = {name: why for error in refused if isinstance(error, NoCandidate) for name, why in error.reasons.items()}
    return NoCandidate("Nobody can serve this call now:", reasons)


def is_final(error: AttemptError) -> bool:
    """The upstream read the call and refused it as such: another model would too.

    A context that is too long or a content filter is a matter of that model; so is a call that its dialect cannot say,
    which never went out (no upstream status).
    """
    if isinstance(error, ContextTooLong | ContentFiltered):
        return False
    return isinstance(error, CallRejected) and error.upstream_status is not None


def _rules_out(choice: Choice, failed: Choice, error: AttemptError) -> bool:
    """Whether what happened there says that this choice would do no better."""
    if choice.name == failed.name:
        return _wait(error) is None
    if isinstance(error, ContextTooLong):
        return choice.context is not None and failed.context is not None and choice.context <= failed.context
    if isinstance(error, ContentFiltered | KeyRejected | Unreachable):
        return bool(choice.door) and choice.door == failed.door
    return False


def _wait(error: AttemptError) -> float | None:
    """Seconds before the same place may be asked again; None where that is no use. One that let its time run out would
    take it again, and may bill both. Limits of our own, which let nothing go out, are never waited for: whoever asked
    hears of them at once."""
    if isinstance(error, RateLimited | Overloaded) and error.upstream_status is None:
        return None
    if not isinstance(error, RateLimited | Overloaded | UpstreamFailed | Unreachable | BrokenReply):
        return None
    wait = error.retry_after or 0.0
    return wait if wait <= LONGEST_WAIT else None
