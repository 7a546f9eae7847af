"""What fails by itself, from where it is noticed to the ledger."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from gateway_samples import NO_OLLAMA, gateway
from msgspec import structs

from pointsman.core import (
    Answer,
    Call,
    Chat,
    Ending,
    LedgerError,
    ManualClock,
    Message,
    OutputSchema,
    Text,
    Tool,
    ToolUse,
    Usage,
)
from pointsman.gateway import Gateway, as_chat, new_id
from pointsman.gateway.learning import RELOAD_AFTER_FAILURES
from pointsman.gateway.outcomes import MOST_KEPT, MOST_WAITING, Outcomes, fault_of_form
from pointsman.ledger import Entry, Feedback, Ledger

SIMULATED = "providers: {sim: {dialect: simulated, deployment: local}}\nmodels: {one: {provider: sim}}\n" + NO_OLLAMA
JSON = Chat((Message("user", (Text("Which city?"),)),), output=OutputSchema())


def entry(**changes: object) -> Entry:
    made = Entry(
        attempt_id=new_id(),
        call_id=new_id(),
        at=time.time(),
        model="m",
        endpoint="p/m",
        provider="p",
        status="ok",
        seconds=1.0,
        finish="stop",
    )
    return structs.replace(made, **changes)


def ended(text: str) -> Ending:
    return Ending("ok", 1.0, None, None, None, "stop", len(text), Answer(text=text))


def noticed(ledger: Ledger, entries: list[Entry]) -> list[Feedback]:
    return [said for one in entries for said in ledger.feedback.of(one.call_id)]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "ledger")


def outcomes(ledger: Ledger) -> Outcomes:
    return Outcomes(ledger, lambda: 0.0)


def notice(asked: Outcomes, *, text: str = "no JSON", **changes: object) -> Entry:
    made = entry(**changes)
    asked.notice(Call(id=made.call_id, model="m", chat=JSON), made, ended(text))
    return made


async def asked_for_json(asked: Gateway, *, stream: bool) -> str:
    """The id of the call, which a simulated model answers with plain words."""
    call = asked.call(JSON, model="one", stream=stream)
    await (await asked(call)).read()
    return call.id


@pytest.mark.parametrize("stream", [False, True])
async def test_a_program_that_ends_at_once_has_recorded_what_failed(tmp_path: Path, stream: bool) -> None:
    """From all that runs for seconds only, such as the command line, nothing would be learned."""
    async with gateway(tmp_path, SIMULATED) as asked:
        call_id = await asked_for_json(asked, stream=stream)
    async with gateway(tmp_path, SIMULATED) as again:
        again.learning.study()
        assert [said.why for said in again.ledger.feedback.of(call_id)] == ["not_json"]


def test_all_that_waits_is_recorded_at_the_end_however_long_a_turn_takes(ledger: Ledger) -> None:
    """A server that is told to stop would forget what its last calls have told."""
    asked = Outcomes(ledger, itertools.count(0.0, 0.06).__next__)
    entries = [notice(asked) for _ in range(4)]
    asked.record()
    assert 0 < len(noticed(ledger, entries)) < 4
    asked.record_all()
    assert [said.why for said in noticed(ledger, entries)] == ["not_json"] * 4


async def test_plain_calls_are_not_looked_at(tmp_path: Path) -> None:
    """Each answer would be held in memory, and looked at in vain."""
    async with gateway(tmp_path, SIMULATED) as asked:
        await (await asked(asked.call(as_chat("Hello!"), model="one"))).read()
        assert asked._outcomes.is_idle


def test_what_a_ledger_cannot_take_now_is_recorded_once_it_can(ledger: Ledger) -> None:
    """A disk that is full for a minute would cost what was learned in it; or it would count twice."""
    asked = outcomes(ledger)
    entries = [notice(asked) for _ in range(3)]
    ledger.store.path.mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(LedgerError):
            asked.record()
    ledger.store.path.rmdir()
    asked.record()
    asked.record()
    assert [said.why for said in noticed(ledger, entries)] == ["not_json"] * 3
    assert asked.is_idle


def test_what_waits_is_bounded(ledger: Ledger) -> None:
    """A burst of calls, or a few long ones, would fill the memory."""
    asked = outcomes(ledger)
    large = notice(asked, text="x" * (MOST_KEPT + 1))
    entries = [notice(asked) for _ in range(MOST_WAITING + 5)]
    asked.record()
    assert len(noticed(ledger, entries)) == MOST_WAITING
    assert noticed(ledger, [large]) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "cancelled"},
        {"status": "cancelled", "error": "content_filtered"},
        {"status": "broken", "error": "broken_reply", "finish": ""},
        {"status": "failed", "error": "timeout", "finish": ""},
        {"status": "failed", "error": "context_too_long", "finish": ""},
        {"finish": "pause"},
        {"finish": "other"},
    ],
)
def test_what_is_not_the_models_fault_tells_nothing(ledger: Ledger, changes: dict[str, object]) -> None:
    """A model would be blamed for what its network, its provider or its caller did."""
    asked = outcomes(ledger)
    made = notice(asked, **changes)
    asked.record()
    assert noticed(ledger, [made]) == []


@pytest.mark.parametrize(
    ("bound", "cap", "usage", "why"),
    [
        (None, None, None, ["cut_off"]),
        (None, 1000, Usage(output=1000), []),
        (None, 1000, Usage(output=400), ["cut_off"]),
        (1000, None, Usage(output=1000), []),
        (1000, None, Usage(output=990), []),
        (1000, None, Usage(output=400), ["cut_off"]),
        (1000, None, Usage(output=300, reasoning=700), []),
        (1000, None, Usage(output=400, estimated=True), []),
        (1000, None, None, []),
    ],
)
def test_an_answer_that_its_caller_cut_off_tells_nothing(
    ledger: Ledger, bound: int | None, cap: int | None, usage: Usage | None, why: list[str]
) -> None:
    """Whoever asks for short answers would ruin every model."""
    asked = outcomes(ledger)
    made = entry(finish="length", usage=usage)
    call = Call(id=made.call_id, model="m", chat=as_chat("Hello!", max_tokens=bound))
    call.cap = cap
    asked.notice(call, made, ended("Hel"))
    asked.record()
    assert [said.why for said in noticed(ledger, [made])] == why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{}", ""),
        ("7", ""),
        ('"\\ud800"', ""),
        ("1" * 5000, ""),
        ("[" * 100_000, ""),
        ("", "not_json"),
        ("```json\n{}\n```", "not_json"),
        ("{} and more", "not_json"),
        ("[Infinity]", "not_json"),
        ("\ud800", "not_json"),
    ],
)
def test_only_json_is_json(text: str, why: str) -> None:
    """What programs cannot read would pass for good, or what they can read for bad."""
    assert fault_of_form(JSON, Answer(text=text)) == why


def test_a_tool_that_nobody_brought_tells_nothing() -> None:
    """Tools that a provider runs itself have no schema here."""
    chat = structs.replace(JSON, output=None, tools=(Tool("known"),))
    assert fault_of_form(chat, Answer(tools=(ToolUse("1", "web_search", "what?"),))) == ""
    assert fault_of_form(chat, Answer(tools=(ToolUse("1", "known", "what?"),))) == "tool_arguments"


async def test_failures_are_heeded_soon(tmp_path: Path) -> None:
    """For ten minutes a model would go on being asked for the JSON that it does not give."""
    clock = ManualClock()
    async with gateway(tmp_path, SIMULATED, clock=clock) as asked:
        asked.learning.study()
        asked.ledger.record(notice(asked._outcomes))
        asked.ledger.flush()
        asked.learning.study()
        clock.advance(RELOAD_AFTER_FAILURES)
        asked.learning.study()
        assert asked.learning.state.seen["m"].failed == 0.9
