"""A fitted router in the home of a gateway: it is taken up, replaced and dropped without a word from anybody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gateway_samples import NO_OLLAMA, gateway
from graded_calls import grade, served

import graded_prompts as graded
from pointsman.core import ManualClock
from pointsman.gateway import Gateway, as_chat
from pointsman.gateway.weights import learned_path
from pointsman.routing import Decision
from pointsman.routing.learned import LearnedRouter
from pointsman.routing.learned.settings import Settings

SMALL = Settings(folds=3, hidden=32, networks=1, blind_networks=1, trees=36, groups=3)
FIVE = (
    "providers: {sim: {dialect: simulated, deployment: paid}}\nmodels:\n"
    + "".join(
        f"  {name}: {{provider: sim, quality: {0.9 if name == 'poet' else 0.5}, price: {{input: 1, output: 1}}}}\n"
        for name in graded.MODELS
    )
    + "  stranger: {provider: sim, quality: 0.5, price: {input: 1, output: 1}}\n"
    + f"route: {{priority: performance, candidates: [{', '.join(graded.MODELS)}, stranger]}}\n"
    + NO_OLLAMA
)


def fitted(home: Path, *, shift: int = 0) -> None:
    """Puts a router into the home; with a shift, one that has learned the models' names the wrong way round."""
    texts, kinds = graded.prompts(300)
    scores = np.roll(graded.grades(kinds), shift, axis=1)
    tasks = [graded.KINDS[kind] for kind in kinds]
    router = LearnedRouter(settings=SMALL).fit(texts, tasks, scores, np.tile(graded.COST, (300, 1)), graded.MODELS)
    path = learned_path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    router.save(path)


def decided(asked: Gateway) -> dict[str, Decision]:
    """By kind of prompt, on prompts that the router has not seen."""
    texts, kinds = graded.prompts(30, seed=5)
    return {
        graded.KINDS[kind]: asked.decide(asked.call(as_chat(text))) for text, kind in zip(texts, kinds, strict=True)
    }


async def taught(asked: Gateway, clock: ManualClock, prompt: str, model: str) -> None:
    """Answers of a model that is named are found to be of no use."""
    for number in range(60):
        clock.advance(1)
        grade(asked, await served(asked, f"{prompt} ({number})", model=model), 0.0)
    asked.learning.study()


def gains(asked: Gateway) -> dict[str, float]:
    """By model: what grades add to what is expected of it on a prompt that asks for code."""
    by_model = {one.model: one for one in decided(asked)["code"].candidates}
    return {model: one.quality.value - one.prior for model, one in by_model.items() if one.quality and one.prior}


async def test_a_fitted_router_sends_each_prompt_to_the_model_that_does_it_best(tmp_path: Path) -> None:
    """`pointsman train --switch` would write a file that nobody reads."""
    async with gateway(tmp_path, FIVE) as asked:
        assert {decision.chosen for decision in decided(asked).values()} == {"poet"}
    fitted(tmp_path / "home")
    async with gateway(tmp_path, FIVE) as asked:
        by_kind = decided(asked)
    assert {kind: decision.chosen for kind, decision in by_kind.items()} == {
        "sum": "mathematician",
        "poem": "poet",
        "code": "coder",
    }
    best = by_kind["code"].candidates[0]
    assert best.quality is not None and best.quality.source == "learned" and best.quality.sd > 0
    assert best.cost is not None and best.cost.source == "learned" and best.cost.value > 0
    stranger = next(one for one in by_kind["code"].candidates if one.model == "stranger")
    assert stranger.quality is not None and stranger.quality.source == "stated"


async def test_a_gateway_takes_up_another_router_while_it_runs(tmp_path: Path) -> None:
    """After a training every server would have to be started again; or grades that say how wrong the profiles are,
    and that the router was fitted on, would be added to what it expects."""
    clock = ManualClock()
    async with gateway(tmp_path, FIVE, clock=clock) as asked:
        texts, kinds = graded.prompts(30, seed=6)
        code = texts[[graded.KINDS[kind] for kind in kinds].index("code")]
        await taught(asked, clock, code, "poet")
        assert gains(asked)["poet"] == pytest.approx(-0.9, abs=0.2)
        fitted(tmp_path / "home")
        clock.advance(10)
        asked.learning.study()
        assert gains(asked)["poet"] == 0
        assert decided(asked)["code"].chosen == "coder"
        await taught(asked, clock, code, "poet")
        assert gains(asked)["poet"] > -0.4, "the router expects of it what it is"
        fitted(tmp_path / "home", shift=1)
        clock.advance(10)
        asked.learning.study()  # until then a model that may be as good is drawn now and then
        assert decided(asked)["code"].chosen == "large"
        learned_path(tmp_path / "home").unlink()
        clock.advance(10)
        asked.learning.study()
        assert decided(asked)["code"].chosen == "poet"
