"""Several models at once: the race, and the consensus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from pointsman.core import (
    Answer,
    Ask,
    AttemptError,
    Broken,
    BrokenReply,
    Call,
    CallRejected,
    Chat,
    Delta,
    Ending,
    Finish,
    LedgerError,
    ManualClock,
    Needs,
    OverBudget,
    Overloaded,
    Reply,
    Served,
    Timeouts,
    UpstreamFailed,
    UpstreamTimeout,
)
from pointsman.gateway.at_once import LoopGroup
from pointsman.strategies import Choice, consensus, race

CLOCK = ManualClock().clock


class Model:
    """Says its words, each as one delta, once it may; or raises. A Broken among the words breaks it off there."""

    def __init__(self, *words: str | Exception, whole: bool = False, finish: Finish = "stop") -> None:
        self.words = words
        self.whole = whole
        self.finish: Finish = finish
        self.may_begin, self.may_end = asyncio.Event(), asyncio.Event()
        self.may_begin.set()
        self.may_end.set()
        self.asked = asyncio.Event()
        self.fate = ""
        self.reply: Reply | None = None

    def begins_late(self) -> Model:
        self.may_begin.clear()
        return self

    def ends_late(self) -> Model:
        self.may_end.clear()
        return self

    async def __call__(self, call: Call) -> Reply:
        self.asked.set()
        if isinstance(self.words[0], OverBudget):
            raise self.words[0]
        call.tally.attempts += 1
        try:
            await self.may_begin.wait()
        except asyncio.CancelledError:
            self.fate = "cancelled"
            raise
        if isinstance(self.words[0], Exception) and not isinstance(self.words[0], BrokenReply):
            raise self.words[0]
        served = Served("m", "p/m", "p")
        if self.whole:
            answer = Answer(text="".join(map(str, self.words)), finish=self.finish)
            return Reply(served, clock=CLOCK, started=0, answer=answer)
        self.reply = Reply(served, clock=CLOCK, started=0, dialect="openai", source=self._stream())
        return self.reply

    async def _stream(self) -> AsyncGenerator[Sequence[Delta | Broken], None]:
        try:
            for word in self.words:
                if isinstance(word, AttemptError):
                    yield [Broken(word)]
                    return
                yield [Delta(text=str(word), raw=f"<{word}>".encode())]
            await self.may_end.wait()
            yield [Delta(finish=self.finish)]
            self.fate = "ended"
        finally:
            self.fate = self.fate or "closed"


def choices(models: Sequence[Model]) -> list[Choice]:
    return [Choice(str(place), model) for place, model in enumerate(models)]


def a_call() -> Call:
    return Call(id="1", model="auto", chat=Chat(()), stream=True)


async def raced(*models: Model) -> Reply:
    return await race(choices(models), LoopGroup)(a_call())


async def agreed(*models: Model, first: int = 3) -> tuple[str, tuple[int, int] | None]:
    """What was said, and how many of how many say so."""
    reply = await consensus(choices(models), first=first, at_once=LoopGroup, clock=CLOCK)(a_call())
    return (await reply.read()).text, reply.provenance.agreed


async def test_who_begins_first_answers_and_nobody_else_goes_on() -> None:
    """A race whose losers went on would cost as many answers as there are runners."""
    slow, fast, third = Model("slow").begins_late(), Model("fast", "er"), Model("third").begins_late()
    reply = await raced(slow, fast, third)
    assert (slow.fate, third.fate) == ("cancelled", "cancelled")
    assert (await reply.read()).text == "faster"


async def test_of_two_that_begin_at_once_one_is_closed() -> None:
    """A reply that nobody reads would hold its connection until it is collected."""
    one, two = Model("one"), Model("two")
    reply = await raced(one, two)
    assert reply in (one.reply, two.reply)
    other = two if reply is one.reply else one
    assert other.reply is not None and other.reply.ending is not None and other.reply.ending.status == "cancelled"
    assert reply.ending is None


async def test_a_race_goes_on_without_those_that_fall() -> None:
    """The fastest to answer is often the one that answers with an error."""
    assert (
        await (await raced(Model(UpstreamFailed("x")), Model("late"), Model(OverBudget("x")))).read()
    ).text == "late"


async def test_a_race_that_all_lose_tells_what_went_wrong() -> None:
    """The words "too busy" would hide that the upstream is out of order."""
    with pytest.raises(UpstreamFailed, match="it is ill"):
        await raced(Model(UpstreamFailed("it is ill")), Model(Overloaded("x")), Model(OverBudget("x")))


async def test_what_every_runner_would_refuse_ends_the_race() -> None:
    """A call that is wrong would be refused five times, and the caller told last."""
    waiting = Model("late").begins_late()
    with pytest.raises(CallRejected):
        await raced(Model(CallRejected("x", upstream_status=400)), waiting)
    assert waiting.fate == "cancelled"


async def test_a_caller_who_leaves_ends_all_that_ran_for_him() -> None:
    """Work for nobody would go on, and be paid for."""
    models = [Model("x").begins_late() for _ in range(3)]
    asking = asyncio.create_task(raced(*models))
    for model in models:
        await model.asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [model.fate for model in models] == ["cancelled"] * 3


async def test_what_cannot_be_recorded_fails_the_call_though_it_lost() -> None:
    """A loser that is not in the ledger would be a call that was paid for and never happened."""

    async def unrecorded(call: Call) -> Reply:
        try:
            await asyncio.Event().wait()
        finally:
            raise LedgerError("the disk is full")

    with pytest.raises(LedgerError):
        await race([Choice("1", Model("one")), Choice("2", unrecorded)], LoopGroup)(a_call())


async def test_one_that_cannot_be_closed_holds_up_no_other() -> None:
    """Where the ledger fails, the connections of all the others would be held for ever."""
    models = [Model("x"), Model("y"), Model("z")]

    def recorded(model: Model) -> Ask:
        async def ask(call: Call) -> Reply:
            reply = await model(call)
            reply.on_end(failing)
            return reply

        return ask

    def failing(ending: Ending) -> None:
        raise LedgerError("the disk is full")

    with pytest.raises(LedgerError):
        await race([Choice(str(place), recorded(model)) for place, model in enumerate(models)], LoopGroup)(a_call())
    assert all(model.reply is None or model.reply.ending is not None for model in models)


async def test_a_limit_on_time_holds_for_each_of_a_consensus() -> None:
    """Nothing is given before the vote, so a slow one would hold up who waits for it to be whole."""
    seen: list[float | None] = []

    async def ask(call: Call) -> Reply:
        seen.append(call.timeouts.total)
        return await Model("42")(call)

    call = Call(id="1", model="auto", chat=Chat(()), needs=Needs(max_latency=3.0), timeouts=Timeouts(total=20.0))
    await consensus([Choice("1", ask), Choice("2", ask)], first=2, at_once=LoopGroup, clock=CLOCK)(call)
    assert seen == [3.0, 3.0]


async def test_what_two_of_three_say_is_the_answer() -> None:
    """The strongest model alone would be asked three times over for nothing."""
    assert await agreed(Model("41"), Model("42"), Model("The answer is 42.")) == ("42", (2, 3))


async def test_a_vote_that_cannot_turn_waits_for_nobody() -> None:
    """A third model that hangs would hold up what two have agreed on, and be paid to its end."""
    third = Model("42").ends_late()
    assert await agreed(Model("42"), Model("42."), third) == ("42", (2, 3))
    assert third.fate == "closed"


async def test_those_that_ended_at_the_same_time_are_counted() -> None:
    """The words "2 of 3" read as if the third had said another thing."""
    assert (await agreed(*(Model("42", whole=True) for _ in range(3))))[1] == (3, 3)


async def test_those_who_never_agree_leave_it_to_the_strongest() -> None:
    """Whoever is the slowest, or the last, would have the last word."""
    strongest = Model("one").ends_late()
    asking = asyncio.create_task(agreed(strongest, Model("two"), Model("three")))
    await strongest.asked.wait()
    strongest.may_end.set()
    assert await asking == ("one", (1, 3))


async def test_a_call_that_all_refuse_is_refused() -> None:
    """What is wrong with the call would be hidden behind what is wrong with one upstream."""
    rejected = CallRejected("no such field", upstream_status=400)
    with pytest.raises(CallRejected):
        await agreed(Model(rejected), Model(rejected), Model(UpstreamFailed("x")))


async def test_an_answer_that_was_cut_off_is_no_last_word() -> None:
    """Half an answer of the strongest is worth less than a whole one of the next; two halves are no agreement."""
    cut = Model("one", finish="length"), Model("one", finish="length")
    assert await agreed(*cut, Model("two")) == ("two", (1, 3))
    assert await agreed(Model("one", finish="length"), Model("two"), Model("three")) == ("two", (1, 3))


async def test_where_two_differ_a_third_is_asked() -> None:
    """Two votes that differ decide nothing."""
    assert await agreed(Model("41"), Model("42"), Model("42"), first=2) == ("42", (2, 3))
    unasked = Model("x")
    assert await agreed(Model("42"), Model("42"), unasked, first=2) == ("42", (2, 2))
    assert not unasked.asked.is_set()


@pytest.mark.parametrize(
    "failure", [UpstreamTimeout("x"), OverBudget("x"), CallRejected("x", upstream_status=400)], ids=lambda one: one.kind
)
async def test_who_fails_is_replaced_and_the_rest_can_still_agree(failure: Exception) -> None:
    """One provider's trouble would break what three are asked for; and who was never asked would be counted."""
    unasked = isinstance(failure, OverBudget)
    assert await agreed(Model(failure), Model("42"), Model("42")) == ("42", (2, 3 - unasked))
    assert await agreed(Model(failure), Model("42"), Model("42"), first=2) == ("42", (2, 3 - unasked))
    assert await agreed(Model(failure), Model(failure), Model("42")) == ("42", (1, 3 - 2 * unasked))


async def test_a_stream_that_breaks_off_is_no_vote() -> None:
    """The half of an answer that came would be counted, or given, as an answer."""
    assert await agreed(Model("4", BrokenReply("cut")), Model("42"), Model("42")) == ("42", (2, 3))
    with pytest.raises(BrokenReply, match="cut"):
        await agreed(Model("4", BrokenReply("cut")), Model("4", BrokenReply("cut")), Model("4", BrokenReply("cut")))


async def test_empty_answers_agree_on_nothing() -> None:
    """Two that say nothing would outvote the one that answers."""
    assert await agreed(Model(""), Model(""), Model("42")) == ("42", (1, 3))


async def test_the_elected_reply_comes_as_it_came() -> None:
    """What only the provider's own bytes bear, such as log probabilities, would be lost on the way."""
    models = [Model("4", "2") for _ in range(3)]
    reply = await consensus(choices(models), first=3, at_once=LoopGroup, clock=CLOCK)(a_call())
    items = [item async for item in reply]
    assert [item.raw for item in items if isinstance(item, Delta)] == [b"<4>", b"<2>", b""]
    assert reply.dialect == "openai" and reply.ending is not None and reply.ending.status == "ok"
