"""What a gateway learns from grades, and what it does in conversations: through whole gateways, and their ledgers."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from gateway_samples import NO_OLLAMA, gateway
from graded_calls import TWO, grade, served
from msgspec import structs

from pointsman.core import (
    Call,
    Caller,
    Chat,
    Image,
    Message,
    Needs,
    Text,
    ToolResult,
    ToolUse,
)
from pointsman.gateway import Gateway, as_chat
from pointsman.gateway.conversations import conversation_id
from pointsman.ledger import Feedback, automatic
from pointsman.routing import Prompt

ONLY_ONE = TWO.replace("candidates: [one, two]", "candidates: [one]")
BETTER, BEST = (
    TWO.replace("two: {provider: sim, quality: 0.6}", f"two: {{provider: sim, quality: {quality}}}")
    for quality in (0.65, 1.0)
)
"""With `two` a little better than `one`, and far better."""


async def taught(asked: Gateway, calls: int) -> None:
    """`two` is always good, `one` never."""
    for number in range(calls):
        entry = await served(asked, f"Question {number} about railway points and their signals?")
        grade(asked, entry, float(entry.model == "two"))
        if number % 10 == 9:
            asked.learning.study()
    asked.learning.study()


async def test_grades_move_the_choice(tmp_path: Path) -> None:
    """Feedback would be collected, and nothing would come of it."""
    async with gateway(tmp_path, TWO) as asked:
        assert asked.decide(asked.call(as_chat("Hello!"))).chosen == "one"
        await taught(asked, 40)
        decision = asked.decide(asked.call(as_chat("Hello!"), needs=Needs(local_only=True)))
    assert decision.chosen == "two"
    quality = {one.model: one.quality for one in decision.candidates}
    assert quality["two"] is not None and quality["one"] is not None
    assert quality["two"].source == "learned" and quality["two"].value > 0.65 > quality["one"].value


async def test_every_decision_records_what_a_replay_needs(tmp_path: Path) -> None:
    """No other policy could be judged by the log, and nothing could be learned from it later."""
    async with gateway(tmp_path, TWO) as asked:
        first = await served(asked)
        grade(asked, first, 1.0)
        asked.learning.study()
        entry = await served(asked)
    assert first.probability == 1.0
    assert sum(one.probability for one in entry.candidates) == pytest.approx(1, abs=1e-3)
    assert all(one.probability > 0 for one in entry.candidates)
    for one in entry.candidates:
        assert one.quality is not None and one.prior is not None and one.cost == 0
    prompt = Prompt.decode(entry.features)
    assert prompt.vector and prompt.task == entry.task


async def test_what_was_learned_is_there_after_a_restart_and_in_other_processes(tmp_path: Path) -> None:
    """Every deployment would begin anew, and of two workers each would believe something else."""
    async with gateway(tmp_path, TWO) as asked:
        await taught(asked, 40)
        before = asked.learning.state
    async with gateway(tmp_path, TWO) as one, gateway(tmp_path, TWO) as other:
        for again in (one, other):
            assert again.learning.state.evidence == before.evidence
            private = again.call(as_chat("Hello!"), needs=Needs(local_only=True))
            assert again.decide(private).chosen == "two"
        entry = await served(one)
        grade(one, entry, 1.0)
        one.learning.study()
        other.learning.study()
        assert one.learning.state.evidence == other.learning.state.evidence
        total = sum(sums.grades for sums in other.learning.state.evidence.values())
        assert total == 41


async def test_the_same_grade_again_teaches_nothing(tmp_path: Path) -> None:
    """A client that tells its grade anew, or somebody who keeps clicking, would outvote everybody else."""
    async with gateway(tmp_path, TWO) as asked:
        entry = await served(asked)
        for score in (1.0, 1.0, 0.0, 1.0):
            grade(asked, entry, score)
            grade(asked, entry, score)
            asked.learning.study()
        assert asked.learning.state.evidence[entry.model].grades == 1


async def test_learning_can_be_switched_off(tmp_path: Path) -> None:
    """Whoever wants the same choice every time could not have it."""
    async with gateway(tmp_path, TWO + "learning: {enabled: false}\n") as asked:
        entry = await served(asked)
        grade(asked, entry, 0.0)
        asked.learning.study()
        again = await served(asked)
    assert Prompt.decode(entry.features).vector == b""
    assert (again.model, again.probability) == ("one", 1.0)


async def test_a_model_that_became_worse_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A silent change at a provider would be found by the users."""
    async with gateway(tmp_path, ONLY_ONE) as asked:
        entry = await served(asked)
        for number in range(500):
            score = float(number < 220 or number % 3 == 0)
            asked.ledger.feedback.add(Feedback(entry.call_id, entry.at, score, key=str(number)))
        await asked._study()
    assert "one does worse than it did" in caplog.text


async def test_what_an_answer_tells_by_itself_counts_as_a_failure(tmp_path: Path) -> None:
    """A model that refuses half of what it is asked would go on being asked; or one that is asked often would seem the
    worst, since of what is noticed by itself nothing is good."""
    async with gateway(tmp_path, TWO) as asked:
        for _ in range(4):
            entry = await served(asked)
        asked.ledger.feedback.add(automatic(entry, "refused"))
    async with gateway(tmp_path, TWO) as again:
        again.learning.study()
        seen = again.learning.state.seen["one"]
        assert (seen.calls, seen.failed) == (4, 0.5)
        assert again.learning.state.evidence == {}


@pytest.mark.parametrize(
    "damage",
    [
        {"gram": [1.0] * 5},
        {"gram": [float("nan")] * 196},
        {"gram": [-1e300] * 196},
        {"gram": [1e308] * 196},
        {"gram": [5.0 * (place % 15 != 0) for place in range(196)]},
        {"gram": [1.0] * 16, "moment": [1.0] * 4},
        {"moment": []},
        {"grades": -7},
        {"grades": 0},
    ],
)
async def test_what_was_learned_and_then_damaged_stops_nothing(tmp_path: Path, damage: dict[str, object]) -> None:
    """Each routed call would fail, or no entry be stored any more, until somebody found out why."""
    async with gateway(tmp_path, TWO) as asked:
        await taught(asked, 40)
        stored = asked.ledger.states.latest()
        assert stored is not None
        lessons = msgspec.msgpack.decode(stored.state)
        lessons[0]["one"] |= damage
        lessons[1]["one"] = {"usual": float("nan")}
        damaged = structs.replace(stored, version=stored.version + 1, state=msgspec.msgpack.encode(lessons))
        assert asked.ledger.states.add(damaged)
    async with gateway(tmp_path, TWO) as again:
        grade(again, await served(again), 1.0)
        again.learning.study()
        state = again.learning.state
        assert state.version > damaged.version
        assert state.evidence.keys() - {"one"} == {"two"}
        private = again.call(as_chat("Hello!"), needs=Needs(local_only=True))
        assert again.decide(private).chosen == "two"


def turn(asked: Gateway, *more: Message, session: str = "", question: str = "Hello!") -> Call:
    chat = Chat((Message("user", (Text(question),)), *more))
    return asked.call(chat, caller=Caller(session=session))


SAID = Message("assistant", (Text("Yes?"),))
GO_ON = (SAID, Message("user", (Text("Go on."),)))
RESULT = (Message("assistant", (ToolUse("1", "look", "{}"),)), Message("tool", (ToolResult("1", (Text("42"),)),)))
"""A tool's call, and its result."""


async def test_a_conversation_stays_with_its_model_over_processes(tmp_path: Path) -> None:
    """With two workers every second turn would be answered by another model."""
    async with gateway(tmp_path, TWO) as one, gateway(tmp_path, TWO) as other:
        held = one.call(as_chat("Hello!"), model="auto")
        reply = await one(held)
        await reply.read()
        assert other.decide(turn(other, *GO_ON)).chosen == "one"
    async with gateway(tmp_path, BETTER) as later:
        assert later.decide(turn(later)).chosen == "two"
        assert later.decide(turn(later, *GO_ON)).chosen == "one"
        assert later.decide(turn(later, SAID, question="Something else")).chosen == "two"


async def test_a_session_is_known_by_its_name(tmp_path: Path) -> None:
    """A client that names its session, and sends no history, would get another model each time."""
    async with gateway(tmp_path, ONLY_ONE) as first:
        await (await first(turn(first, session="s1"))).read()
    async with gateway(tmp_path, BETTER) as later:
        assert later.decide(turn(later, session="s1", question="And then?")).chosen == "one"
        assert later.decide(turn(later, session="s2", question="And then?")).chosen == "two"


async def test_a_tool_s_result_goes_to_the_model_that_called_the_tool(tmp_path: Path) -> None:
    """Another model would get the result of a call that it never made."""
    async with gateway(tmp_path, ONLY_ONE) as first:
        await (await first(turn(first))).read()
    async with gateway(tmp_path, BEST) as later:
        decision = later.decide(turn(later, *RESULT))
        assert decision.chosen == "one" and "awaits the result of a tool" in decision.reason
        assert later.decide(turn(later, *GO_ON)).chosen == "two"


async def test_what_another_process_served_a_moment_ago_counts(tmp_path: Path) -> None:
    """With two workers the results of fast tools would go to models that never called them."""
    async with gateway(tmp_path, TWO) as one, gateway(tmp_path, BEST) as two:
        for asked, call in ((one, turn(one)), (two, turn(two, *GO_ON)), (one, turn(one))):
            await (await asked(call)).read()
        assert two.decide(turn(two, *RESULT)).chosen == "one"
        await (await two(turn(two, *GO_ON))).read()
        assert one.decide(turn(one, *RESULT)).chosen == "two"


async def test_a_helper_of_the_same_session_takes_no_conversation_s_model(tmp_path: Path) -> None:
    """An agent asks for a title, or runs a sub-agent, between a tool's call and its result: another model would get
    that result."""
    async with gateway(tmp_path, ONLY_ONE) as first:
        await (await first(turn(first, session="s"))).read()
    async with gateway(tmp_path, BEST) as later:
        await (await later(turn(later, session="s", question="Name this talk."))).read()
        assert later.decide(turn(later, session="s", question="And this?")).chosen == "two"
        decision = later.decide(turn(later, *RESULT, session="s"))
        assert decision.chosen == "one" and "awaits the result of a tool" in decision.reason
        unknown = later.decide(turn(later, *RESULT, session="s", question="Never asked here."))
        assert unknown.chosen == "two"


async def conversation_of(asked: Gateway, call: Call) -> str:
    """As it is recorded of `call`."""
    await (await asked(call)).read()
    asked.ledger.flush()
    return asked.ledger.queries.recent(1)[0].conversation


async def test_the_calls_of_one_conversation_are_recorded_as_such(tmp_path: Path) -> None:
    """A replay could not tell which caches a policy loses, and its savings would be gross of them."""
    a_picture, another = (Message("user", (Image(data=data, media_type="image/png"),)) for data in ("AAAA", "BBBB"))
    async with gateway(tmp_path, TWO) as asked:
        first = await conversation_of(asked, turn(asked))
        assert len(first) == 16 and first == await conversation_of(asked, turn(asked, *GO_ON))
        named = await conversation_of(asked, turn(asked, session="s"))
        assert named == await conversation_of(asked, turn(asked, session="s", question="And then?"))
        assert await conversation_of(asked, asked.call(as_chat("Hello!"), model="one")) == ""
        calls = (turn(asked), turn(asked, question="Hello?"), turn(asked, session="s"), turn(asked, session="t"))
        pictures = (asked.call(Chat((picture, *GO_ON))) for picture in (a_picture, another))
        assert len({conversation_id(call) for call in (*calls, *pictures)}) == 6


async def test_without_features_no_hash_of_a_prompt_is_kept(tmp_path: Path) -> None:
    """Whoever keeps nothing of prompts would keep what a guess can be checked against."""
    async with gateway(tmp_path, TWO + "ledger: {features: false}\n") as asked:
        assert await conversation_of(asked, turn(asked)) == ""


async def test_nothing_of_a_conversation_can_be_read_in_the_state(tmp_path: Path) -> None:
    """Prompts and names of sessions would lie in a file that nobody thinks of as private."""
    async with gateway(tmp_path, TWO) as asked:
        await (await asked(turn(asked, session="canary-session", question="canary-question"))).read()
        asked.ledger.flush()
    found = [
        path.name
        for path in (tmp_path / "home").rglob("*")
        if path.is_file() and "ledger" not in path.name and b"canary" in path.read_bytes()
    ]
    assert [name for name in found if name.startswith("state")] == []


async def test_weights_of_the_configuration_are_those_that_count(tmp_path: Path) -> None:
    """What stands in the file would be believed, and something else would happen."""
    priced = (
        "providers: {sim: {dialect: simulated, deployment: paid}}\n"
        "models:\n"
        "  dear: {provider: sim, quality: 0.9, price: {input: 100, output: 100}}\n"
        "  cheap: {provider: sim, quality: 0.7, price: {input: 1, output: 1}}\n"
        "route: {priority: balanced, candidates: [dear, cheap], weights: {cost: 0.1}}\n"
        "modes: {thrifty: {candidates: [dear, cheap], priority: balanced, weights: {cost: 2}}}\n" + NO_OLLAMA
    )
    async with gateway(tmp_path, priced) as asked:
        decision = asked.decide(asked.call(as_chat("Hello!")))
        assert decision.chosen == "dear"
        assert asked.decide(asked.call(as_chat("Hello!"), model="thrifty")).chosen == "cheap"
    terms = decision.candidates[0].terms
    assert terms["quality"] == pytest.approx(0.9) and -0.1 < terms["cost"] < 0


async def test_the_bounds_name_the_model(tmp_path: Path) -> None:
    """The ready rules by budget and latency would be a page of documentation and nothing else."""
    models = "".join(
        f"  {name}: {{provider: sim, quality: 0.5, price: {{input: 1, output: 1}}}}\n"
        for name in ("gpt-3.5-turbo", "gpt-4-turbo", "claude-3-5-sonnet", "gpt-4")
    )
    config = "providers: {sim: {dialect: simulated, deployment: paid}}\nmodels:\n" + models + NO_OLLAMA
    async with gateway(tmp_path, config) as asked:
        chosen = []
        for budget, prompt in (("0.005", "Hello!"), ("0.05", "Hello!"), ("0.05", HARD), ("1", "Hello!")):
            needs = Needs(max_cost=round(float(budget) * 1e9))  # type: ignore[arg-type]
            decision = asked.decide(asked.call(as_chat(prompt), model="bounds", needs=needs))
            chosen.append(decision.chosen)
    assert chosen == ["gpt-3.5-turbo", "gpt-4-turbo", "claude-3-5-sonnet", "gpt-4"]
    assert decision.policy == "bounds:balanced"


HARD = "Prove this theorem step by step, analyze the edge cases, and compare it with the algorithm in depth."
