"""Every attempt becomes an Entry: an Ask around an endpoint that prices what passed and writes it to the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import structs

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
    Trace,
    UpstreamTimeout,
    Usage,
)
from ..ledger import Body, Entry, Ledger
from ..ledger.budgets import Hold
from ..routing import Outcome, estimate_tokens
from .readings import Readings
from .roster import Model
from .spending import Spending


class Attempts:
    """Makes endpoints into recorded ones."""

    def __init__(
        self,
        ledger: Ledger,
        spending: Spending,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        learn: Callable[[Outcome], None],
        reference: Callable[[], Price | None],
        keep_features: bool,
    ) -> None:
        """`reference` gives the list price that stands for what a local model has none of."""
        self._ledger = ledger
        self._spending = spending
        self._clock = clock
        self._new_id = new_id
        self._learn = learn
        self._reference = reference
        self._keep_features = keep_features
        self._readings = Readings(clock.steady)
        self.observers: list[Callable[[Entry], None]] = []
        """Called with every entry once it is recorded."""

    def recorded(self, ask: Ask, model: Model) -> Ask:
        """`ask` with every attempt recorded: those that fail and those that are cancelled, too."""
        served = Served(model.name, model.endpoint, model.provider)

        async def attempt(call: Call) -> Reply:
            # First, since nothing may be asked, and paid for, that could not be recorded.
            self._ledger.start()
            call, hold = await self._spending.reserve(call, model)
            at, started = self._clock.wall(), self._clock.steady()
            retry = call.tally.attempts
            call.tally.attempts += 1
            reading = self._readings.begin(call)

            def ended(ending: Ending, by: Served = served) -> None:
                trace = reading.trace if reading is not None else call.trace
                self._record(call, trace, model, by, at, retry, ending, hold)

            try:
                reply = await ask(call)
            except AttemptError as error:
                error.endpoint = served.endpoint
                ended(_failure(self._clock.steady() - started, error))
                raise
            except asyncio.CancelledError:
                ended(_failure(self._clock.steady() - started, None))
                raise
            except CallError:
                if hold is not None:
                    hold.release()  # nothing went out
                raise
            if self._ledger.keep_bodies:
                reply.keep_text()
            reply.on_end(lambda ending: ended(ending, reply.served))
            return reply

        return attempt

    def _record(
        self,
        call: Call,
        trace: Trace,
        model: Model,
        served: Served,
        at: float,
        retry: int,
        ending: Ending,
        hold: Hold | None,
    ) -> None:
        usage = _counted(call, ending) if ending.begun else None
        price = model.quote.charged
        listed = self._reference() if model.deployment == "local" else model.quote.listed
        paid = cost(usage, price) if usage else _cost_of_failure(ending, price)
        # What was refused took no tokens; what broke off before it began may have taken any number.
        tokens = usage.input_tokens + usage.output_tokens if usage else None if paid is None else 0
        call.tally.add(paid, tokens)
        attempt_id = self._new_id()
        if self._ledger.keep_bodies:
            self._ledger.record_body(Body(attempt_id, at, call.body or msgspec.json.encode(call.chat), ending.text))
        entry = Entry(
            attempt_id=attempt_id,
            call_id=call.id,
            at=at,
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
            list_cost=(paid if listed is price else cost(usage, listed)) if usage else None,
            error=ending.error.kind if ending.error else "",
            upstream_status=ending.error.upstream_status if ending.error else None,
            retry=retry,
            run_id=trace.run_id,
            stage=trace.stage,
            task=trace.task,
            complexity=trace.complexity,
            strategy=trace.strategy,
            decision_id=trace.decision_id,
            probability=trace.probability_of(served.model),
            policy=trace.policy,
            state_version=trace.state_version,
            features=trace.features if self._keep_features else b"",
            # A fallback's entry has the id of the same decision: what was weighed is kept once.
            candidates=() if retry else trace.candidates,
            key=call.caller.key,
            user=call.caller.user,
            session=call.caller.session,
            tags=call.caller.tags,
            version=__version__,
            deployment=model.deployment,
            holds=hold.purses if hold is not None else (),
            held=hold.amount if hold is not None else None,
        )
        self._ledger.record(entry)
        if hold is not None:
            hold.settle(paid)  # only now: until it is recorded, the money must stay where it is
        for observer in self.observers:
            observer(entry)
        if ending.status != "cancelled" and not (ending.error and ending.error.blame == "caller"):
            output = usage.output_tokens if usage else 0
            self._learn(Outcome(served.model, ending.status == "ok", ending.seconds, ending.ttft, output))


def _failure(seconds: float, error: AttemptError | None) -> Ending:
    """The ending of an attempt that gave no reply: it failed, or without an error it was cancelled."""
    return Ending("cancelled" if error is None else "broken", seconds, None, None, error, None, 0, begun=False)


def _counted(call: Call, ending: Ending) -> Usage:
    """The provider's count; where the reply was cut off before it came, or bore none, ours, marked as estimated."""
    delivered = ending.chars // 4
    if ending.usage is None:
        asked = len(call.body) // 4 if call.body else estimate_tokens(call.chat)
        return Usage(input=asked, output=delivered, estimated=True)
    if ending.status != "ok" and ending.usage.output_tokens < delivered:
        return structs.replace(ending.usage, output=delivered - ending.usage.reasoning, estimated=True)
    return ending.usage


def _cost_of_failure(ending: Ending, price: Price | None) -> Nanos | None:
    """Refusals and failed connections cost nothing. What ran into a time-out, broke off or was left by its caller may
    be billed all the same, so its cost is unknown, unless the model is free of charge."""
    if price is not None and not (price.input or price.output or price.call):
        return Nanos(0)
    if ending.error is None or isinstance(ending.error, UpstreamTimeout | BrokenReply):
        return None
    return Nanos(0)
