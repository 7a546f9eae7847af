"""Every attempt becomes an Entry: an Ask around an endpoint that prices what passed and writes it to the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from msgspec import Struct, structs

from .. import __version__
from ..catalog import Price, cost
from ..core import (
    Ask,
    AttemptError,
    BrokenReply,
    Call,
    CallError,
    Clock,
    Ending,
    Nanos,
    Reply,
    Served,
    UpstreamTimeout,
    Usage,
    was_sent,
)
from ..ledger import Body, Entry, Ledger
from ..ledger.budgets import Hold
from ..routing import Prompt, estimate_tokens
from .outcomes import MOST_KEPT, Outcomes
from .readings import Reading, Readings
from .roster import Model
from .spending import Spending

MOST_UNTOLD = 256


class Attempts:
    """Makes endpoints into recorded ones."""

    def __init__(
        self,
        ledger: Ledger,
        spending: Spending,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        reference: Callable[[], Price | None],
        keep_features: bool,
        outcomes: Outcomes,
        vector: Callable[[Prompt], bytes],
        must_wait: Callable[[], bool],
    ) -> None:
        """`reference` gives the list price that stands for what a local model has none of; `vector` what a learner
        reads in a prompt, and `must_wait` says whether that takes a while now."""
        self._ledger = ledger
        self._spending = spending
        self._wall = clock.wall
        self._steady = clock.steady
        self._new_id = new_id
        self._reference = reference
        self._keep_features = keep_features
        self._outcomes = outcomes
        self._readings = Readings(clock.steady, vector, must_wait)
        self._untold: list[Entry] = []
        self.observers: list[Callable[[Entry], None]] = []
        """Called with every entry once it is recorded."""
        self.counters: list[Callable[[Sequence[Entry]], None]] = []
        """Called by `tell` with all entries since the last time: to count many at once is cheaper."""

    def tell(self) -> None:
        """Tells the counters what they have not heard yet."""
        entries, self._untold = self._untold, []
        for count in self.counters if entries else ():
            count(entries)

    def recorded(self, ask: Ask, model: Model) -> Ask:
        """`ask` with every attempt recorded: those that fail and those that are cancelled, too."""
        served = Served(model.name, model.endpoint, model.provider)
        ledger, spending, readings, wall, steady = (
            self._ledger,
            self._spending,
            self._readings,
            self._wall,
            self._steady,
        )

        async def attempt(call: Call) -> Reply:
            # First, since nothing may be asked, and paid for, that could not be recorded.
            ledger.start()
            hold: Hold | None = None
            if spending.must_reserve(model):
                call, hold = await spending.reserve(call, model)
            tally = call.tally
            begun = _Begun(call, model, wall(), tally.attempts, readings.begin(call), hold)
            tally.attempts += 1
            started = steady()
            try:
                reply = await ask(call)
            except AttemptError as error:
                error.endpoint = served.endpoint
                self._record(begun, served, _failure(steady() - started, error))
                raise
            except asyncio.CancelledError as cancelled:
                self._record(begun, served, _failure(steady() - started, None, sent=was_sent(cancelled)))
                raise
            except CallError:
                if hold is not None:
                    spending.settle(call, hold, Nanos(0))  # nothing went out
                raise
            if ledger.keep_bodies:
                reply.keep()
            elif call.states_form:
                reply.keep(MOST_KEPT)
            if reply.ending is not None:
                reply.attempt_id = self._record(begun, reply.served, reply.ending)
            else:
                reply.on_end(lambda ending: self._ended(begun, reply, ending))
            return reply

        return attempt

    def _ended(self, begun: _Begun, reply: Reply, ending: Ending) -> None:
        reply.attempt_id = self._record(begun, reply.served, ending)

    def _record(self, begun: _Begun, served: Served, ending: Ending) -> str:
        """The id of the attempt."""
        call, model, hold = begun.call, begun.model, begun.hold
        trace = call.trace if begun.reading is None else begun.reading.trace
        usage = _counted(call, ending) if ending.begun else None
        price = model.quote.charged
        listed = self._reference() if model.deployment == "local" else model.quote.listed
        if usage is None:
            paid, list_cost = _cost_of_failure(ending, price), None
            # What was refused took no tokens; what broke off before it began may have taken any number.
            tokens = None if paid is None else 0
        else:
            paid = cost(usage, price)
            list_cost = paid if listed is price else cost(usage, listed)
            tokens = usage.all_tokens()
        call.tally.add(paid, tokens)
        new_id, error, finish, caller = self._new_id, ending.error, ending.finish, call.caller
        attempt_id = new_id()
        if self._ledger.keep_bodies:
            said = "" if ending.answer is None else ending.answer.text
            self._ledger.record_body(Body(attempt_id, begun.at, call.body or _written(call.chat), said))
        entry = Entry(
            attempt_id=attempt_id,
            call_id=call.id,
            at=begun.at,
            model=served.model,
            endpoint=served.endpoint,
            provider=served.provider,
            status=ending.status if ending.begun or ending.status != "broken" else "failed",
            seconds=ending.seconds,
            ttft=ending.ttft,
            dialect=call.dialect,
            op=call.op,
            stream=call.stream,
            usage=usage,
            cost=paid,
            list_cost=list_cost,
            error="" if error is None else error.kind,
            upstream_status=None if error is None else error.upstream_status,
            retry=begun.retry,
            run_id=trace.run_id,
            stage=trace.stage,
            task=trace.task,
            complexity=trace.complexity,
            strategy=trace.strategy,
            decision_id=trace.decision_id,
            probability=trace.probability_of(served.model) if trace.candidates else None,
            policy=trace.policy,
            state_version=trace.state_version,
            features=trace.features if self._keep_features else b"",
            # A fallback's entry has the id of the same decision: what was weighed is kept once.
            candidates=() if begun.retry else trace.candidates,
            key=caller.key,
            user=caller.user,
            session=caller.session,
            tags=caller.tags,
            version=__version__,
            deployment=model.deployment,
            holds=() if hold is None else hold.purses,
            held=None if hold is None else hold.amount,
            finish=finish or "",
            conversation=trace.conversation if self._keep_features else "",
        )
        self._ledger.record(entry)
        if hold is not None:
            self._spending.settle(call, hold, paid)  # only now: until it is recorded, the money must stay where it is
        if error is not None or (finish != "stop" and finish != "tools") or call.states_form:
            self._outcomes.notice(call, entry, ending)
        for observer in self.observers:
            observer(entry)
        self._untold.append(entry)
        if len(self._untold) >= MOST_UNTOLD:
            self.tell()
        return attempt_id


class _Begun(Struct, frozen=True):
    """An attempt that is under way."""

    call: Call
    model: Model
    at: float
    retry: int
    """How many attempts the call had made before."""
    reading: Reading | None
    hold: Hold | None


_written = msgspec.json.Encoder().encode


def _failure(seconds: float, error: AttemptError | None, *, sent: bool = True) -> Ending:
    """The ending of an attempt that gave no reply: it failed, or without an error it was cancelled."""
    status: Literal["cancelled", "broken"] = "cancelled" if error is None else "broken"
    return Ending(status, seconds, None, None, error, None, 0, begun=False, sent=sent)


def _counted(call: Call, ending: Ending) -> Usage:
    """The provider's count; where the reply was cut off before it came, or bore none, ours, marked as estimated."""
    usage = ending.usage
    if usage is not None and ending.status == "ok":
        return usage
    delivered = ending.chars // 4
    if usage is None:
        asked = len(call.body) // 4 if call.body else estimate_tokens(call.chat)
        return Usage(input=asked, output=delivered, estimated=True)
    if usage.output_tokens < delivered:
        return structs.replace(usage, output=delivered - usage.reasoning, estimated=True)
    return usage


def _cost_of_failure(ending: Ending, price: Price | None) -> Nanos | None:
    """Refusals and failed connections cost nothing. What ran into a time-out, broke off or was left by its caller may
    be billed all the same, so its cost is unknown, unless the model is free of charge."""
    if price is not None and not (price.input or price.output or price.call):
        return Nanos(0)
    if not ending.sent:
        return Nanos(0)
    if ending.error is None or isinstance(ending.error, UpstreamTimeout | BrokenReply):
        return None
    return Nanos(0)
