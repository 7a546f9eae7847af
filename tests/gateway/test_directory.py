"""What stands behind a name: needs are kept, members that cannot serve passed over, nothing superseded chosen."""

from pathlib import Path

import pytest
from gateway_samples import NO_OLLAMA, gateway, text_of
from test_gateway_calls import asking, priced

from pointsman.core import Chat, InvalidCall, Message, Needs, NoCandidate
from pointsman.gateway import as_chat


@pytest.mark.parametrize("name", ["one", "mine/anything", "p"])
async def test_a_private_call_stays_here_whatever_it_names(tmp_path: Path, name: str) -> None:
    """A secret would leave the machine because its caller named a model or a pool."""
    async with asking(tmp_path, priced("one"), NO_OLLAMA + "pools: {p: {members: [one]}}") as (asked, mine):
        with pytest.raises(NoCandidate):
            await asked.ask("A secret", model=name, local_only=True)
        assert mine.seen == []


async def test_a_sealed_mode_stays_sealed_inside_a_pool(tmp_path: Path) -> None:
    """A mode's promise of privacy would be lost where a pool stands around it."""
    more = NO_OLLAMA + "modes: {sealed: {candidates: [one], local_only: true}}\npools: {p: {members: [sealed]}}\n"
    async with asking(tmp_path, priced("one"), more) as (asked, mine):
        with pytest.raises(NoCandidate):
            await asked.ask("A secret", model="p", max_latency=1000)
        assert mine.seen == []


async def test_a_budget_holds_for_a_named_model(tmp_path: Path) -> None:
    """A caller who states what he will pay would be billed more."""
    async with asking(tmp_path, priced("one")) as (asked, mine):
        with pytest.raises(NoCandidate):
            await asked.ask("Hi", model="one", budget="0.0000001")
        assert mine.seen == []


async def test_a_budget_that_is_no_amount_is_the_callers_mistake(tmp_path: Path) -> None:
    """A traceback instead of a word on what is wrong."""
    async with gateway(tmp_path) as asked:
        with pytest.raises(InvalidCall):
            await asked.ask("Hi", budget="abc")


async def test_a_pool_passes_over_a_member_that_cannot_serve(tmp_path: Path) -> None:
    """The pool of the README would be dead until every key was set and every model pulled."""
    more = NO_OLLAMA + "pools: {p: {members: [gpt-5, one]}}\n"
    async with asking(tmp_path, priced("one"), more) as (asked, _):
        assert await text_of(await asked.ask("Hi", model="p")) == "I am one."


async def test_a_pool_without_any_member_that_serves_tells_every_reason(tmp_path: Path) -> None:
    """Whoever asks a dead pool would not learn what each member lacks."""
    async with gateway(tmp_path, NO_OLLAMA + "pools: {p: {members: [gpt-5, claude-opus-4-1]}}\n") as asked:
        with pytest.raises(NoCandidate) as refused:
            await asked.ask("Hi", model="p")
    assert {"OPENAI_API_KEY", "ANTHROPIC_API_KEY"} <= set(str(refused.value).replace("\n", " ").split())


def test_a_superseded_model_is_never_chosen_unasked(tmp_path: Path) -> None:
    """An old model whose price and name still stand would take calls that a newer one does better."""
    asked = gateway(tmp_path, NO_OLLAMA, {"OPENAI_API_KEY": "k"})
    plan = asked.decide(asked.call(as_chat("hi"))).plan
    assert plan and "gpt-3.5-turbo" not in plan


def test_a_candidate_may_be_any_endpoint(tmp_path: Path) -> None:
    """`candidates: [mine/x]` would match nothing, and not say so."""
    more = "providers: {mine: {base_url: 'http://127.0.0.1:9/v1'}}\nroute: {candidates: [mine/x]}\n"
    asked = gateway(tmp_path, NO_OLLAMA + more)
    assert asked.decide(asked.call(as_chat("Hi"))).plan == ("mine/x",)


def test_a_chain_may_name_a_model_by_its_alias(tmp_path: Path) -> None:
    """A user's chain would have no effect because he wrote the vendor's name for the model."""
    keys = {"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"}
    scores = []
    for chains in ("", "route: {chains: {chat: {paid: [claude-4-opus]}}}\n"):
        asked = gateway(tmp_path, NO_OLLAMA + chains, keys)
        call = asked.call(as_chat("hi"), model="auto", needs=Needs(priority="performance"))
        found = {one.model: one.score for one in asked.decide(call).candidates}
        scores.append(found.get("claude-opus-4-0"))
    assert scores[0] is None and scores[1] is not None


def test_ollama_on_another_machine_is_not_local(tmp_path: Path) -> None:
    """A private call would be sent over the network."""
    asked = gateway(tmp_path, 'providers: {ollama: {base_url: "http://gpu.example.com:11434"}}\n' + NO_OLLAMA)
    model = asked.roster.find("ollama/x")
    assert model is not None and model.deployment == "free"


def test_every_name_stands_once_in_the_roster(tmp_path: Path) -> None:
    """A model of the configuration would stand beside the one that it replaces."""
    asked = gateway(tmp_path, "models: {local/smollm2-135m: {provider: openai, id: x}}\n" + NO_OLLAMA)
    names = [model.name for model in asked.roster.everyone()]
    assert len(names) == len(set(names))


def test_a_web_of_pools_is_listed_at_once(tmp_path: Path) -> None:
    """A configuration of fifteen lines would hang every request for the list of models."""
    pools = [f"  p{n}: {{members: [p{n + 1}, p{n + 1}]}}" for n in range(40)]
    asked = gateway(tmp_path, NO_OLLAMA + "\n".join(["pools:", *pools, "  p40: {members: [gpt-5]}"]))
    assert "p0" in [one.name for one in asked.listed()]


async def test_a_simulated_model_answers_a_message_without_parts(tmp_path: Path) -> None:
    """A traceback in the one endpoint that is there to be tried."""
    async with gateway(tmp_path, "providers: {sim: {dialect: simulated}}\n" + NO_OLLAMA) as asked:
        assert (await (await asked.ask(Chat((Message("user", ()),)), model="sim/x")).read()).text


async def test_a_call_that_asks_too_much_is_the_callers_to_change(tmp_path: Path) -> None:
    """A client would try again and again what can never be served."""
    more = NO_OLLAMA + "route: {candidates: [one]}\n"
    async with asking(tmp_path, priced("one"), more) as (asked, _):
        with pytest.raises(NoCandidate) as asked_too_much:
            await asked.ask("Hi", budget="0.0000001")
        with pytest.raises(NoCandidate) as private:
            await asked.ask("Hi", local_only=True)
    assert (asked_too_much.value.status, private.value.status) == (400, 503)


async def test_a_task_s_chain_gives_a_model(tmp_path: Path) -> None:
    """Whoever knows what he asks for would have to write a prompt to learn who serves it."""
    config = (
        "providers:\n"
        "  home: {dialect: simulated, deployment: local}\n"
        "  gifts: {dialect: simulated, deployment: free}\n"
        "  shop: {dialect: simulated, deployment: paid}\n"
        "  shut: {dialect: simulated, enabled: false}\n"
        "models:\n"
        "  here: {provider: home}\n"
        "  gift: {provider: gifts}\n"
        "  dear: {provider: shop, price: {input: 10, output: 50}}\n"
        "  fluent: {provider: shop, rubrics: {translation: {performance: 9, speed: 5}}}\n"
        "  gone: {provider: shut}\n"
        "route: {chains: {coding: {local: [here], free: [gift], paid: [gone, dear]}}}\n" + NO_OLLAMA
    )
    async with gateway(tmp_path, config) as asked:
        assert asked.route("coding", "simple") == "here"
        assert asked.route("coding", "complex") == "dear"
        assert asked.route("coding", "complex", "0.000001") == "gift"
        assert asked.route("coding", "complex", "0") == "here"
        assert asked.route("coding", "complex", local_only=True) == "here"
        assert asked.route("translation", "simple") == "here"
        assert asked.route("translation", "complex") == "fluent", "no chain is named for it: the best of its tier"
        assert asked.route("translation", "complex", "0") == "here"
        with pytest.raises(InvalidCall, match="No chain is named for 'juggling'"):
            asked.route("juggling", "simple")
        with pytest.raises(InvalidCall, match="'foo' is none of simple, moderate, complex"):
            asked.route("coding", "foo")  # type: ignore[arg-type]
        with pytest.raises(InvalidCall, match="less than nothing"):
            asked.route("coding", "simple", "-1")


async def test_models_that_differ_in_figures_alone_share_a_line_of_a_refusal(tmp_path: Path) -> None:
    """Eight kilobytes of prices would be all that a caller with a small budget reads."""
    models = "".join(f"  m{i}: {{provider: sim, price: {{input: {i + 1}, output: {i + 1}}}}}\n" for i in range(40))
    config = f"providers: {{sim: {{dialect: simulated}}}}\nmodels:\n{models}" + NO_OLLAMA
    async with gateway(tmp_path, config) as asked:
        with pytest.raises(NoCandidate) as refused:
            await asked.ask("Hi", budget="0.0000001", max_tokens=100)
    [line] = [line for line in refused.value.message.splitlines() if "may cost" in line]
    assert line.startswith("  m0, m1 and 38 more: may cost $0.0001") and " to $0.00" in line
    assert line.endswith(", the budget is $0.00000010")


async def test_who_may_serve_a_named_model_is_told_without_what_was_learned(tmp_path: Path) -> None:
    """Whoever names his model would wait a tenth of a second for a forecast that decides nothing."""
    config = "providers: {sim: {dialect: simulated}}\nmodels: {one: {provider: sim, context: 1000}}\n" + NO_OLLAMA
    async with gateway(tmp_path, config) as asked:
        short, long = (asked.call(as_chat("word " * words), model="one") for words in (1, 5000))
        assert not asked.is_weighed(short) and asked.is_weighed(asked.call(as_chat("Hi"), needs=Needs(local_only=True)))
        assert asked.decide(short, learned=False).chosen == "one"
        refused = asked.decide(long, learned=False)
        assert not asked._forecasts._forecaster
        assert not refused.plan and refused.reasons == asked.decide(long).reasons
        assert asked._forecasts._forecaster


@pytest.mark.parametrize("name", ["bounds", "auto"])
async def test_a_route_of_which_no_model_can_serve_tells_what_they_lack(tmp_path: Path, name: str) -> None:
    """A caller over HTTP would read "why each was left out:", and nothing after it."""
    async with gateway(tmp_path, NO_OLLAMA) as asked:
        with pytest.raises(NoCandidate) as refused:
            await asked.ask("Hi", model=name)
    told = str(refused.value)
    assert "gpt-4-turbo" in told or name == "auto"
    assert "more: has no key: set OPENAI_API_KEY" in told or name == "bounds"
    assert "has no key: set OPENAI_API_KEY" in told and len(told.splitlines()) < 30
