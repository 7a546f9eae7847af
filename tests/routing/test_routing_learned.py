"""The learned router: what it learns, what it says of new prompts, and what it leaves alone."""

from __future__ import annotations

import time

import numpy as np
import pytest
from learned_prompts import CHANCES, MODELS, SMALL, best_single, data, expected, fitted

from pointsman.routing.learned import LearnedRouter, Reader, Readings, pack, unpack
from pointsman.routing.learned.labels import check
from pointsman.routing.learned.margins import NEVER, choose_margins
from pointsman.routing.learned.novelty import Margin, Margins, prefer_best
from pointsman.routing.learned.settings import Settings
from pointsman.routing.learned.store import shipped_word_problems


@pytest.fixture(scope="module")
def learnt() -> LearnedRouter:
    return fitted(data(400))


def test_it_beats_the_best_single_model_on_prompts_it_has_not_seen(learnt: LearnedRouter) -> None:
    """A router that is no better than always asking one model would be worth nothing."""
    new = data(200, seed=1)
    chosen = learnt.predict(new.prompts)[0].argmax(1)
    always = expected(new.tasks, np.full(200, best_single(data(400))))
    assert expected(new.tasks, chosen) > always + 0.04


def test_a_price_on_cost_moves_prompts_to_cheaper_models_that_do_as_well(learnt: LearnedRouter) -> None:
    """A caller who pays for each call could not save anything."""
    new = data(200, seed=1)
    chances, costs = learnt.predict(new.prompts)
    chosen = (chances - 0.3 * costs / costs.max()).argmax(1)
    translations = np.array(new.tasks) == "translation"
    assert (chosen[translations] == MODELS.index("cheap")).mean() > 0.8


def test_costs_follow_length_and_price(learnt: LearnedRouter) -> None:
    """Expected costs that have nothing to do with real ones would make every price on cost wrong."""
    new = data(100, seed=2)
    costs = learnt.predict(new.prompts)[1]
    assert np.median(np.abs(costs / new.costs - 1)) < 0.1


@pytest.mark.parametrize("kind", ["facts", "poems"])
def test_a_kind_of_prompt_never_seen_is_left_to_the_best_single_model(kind: str) -> None:
    """What was learnt of other prompts would do harm on new ones."""
    others = [other for other in CHANCES if other != kind]
    known = data(320, others)
    router = fitted(known)
    new = data(60, [kind], seed=3)
    chosen = router.predict(new.prompts)[0].argmax(1)
    assert expected(new.tasks, chosen) >= expected(new.tasks, np.full(60, best_single(known))) - 0.02


def test_novelty_is_greater_for_a_kind_of_prompt_that_was_not_fitted_on() -> None:
    """Exploration and abstention could not tell known ground from new."""
    router = fitted(data(320, ["code", "sums", "translation", "facts"]))
    reader = Reader()
    old, new = data(40, ["code", "sums", "translation", "facts"], seed=4).prompts, data(40, ["poems"], seed=4).prompts
    known, novel = (router.estimate(reader.read_many(texts), [len(text) for text in texts]) for texts in (old, new))
    assert np.median(novel.novelty) > np.median(known.novelty) + 0.2
    assert known.novelty.min() >= 0 and novel.novelty.max() <= 1
    assert np.median(novel.p_sd) > np.median(known.p_sd)


def test_estimates_are_probabilities_whose_doubt_covers_their_errors(learnt: LearnedRouter) -> None:
    """The margin that predict keeps would be taken for a probability, or a doubt for a certainty."""
    new = data(200, seed=5)
    told = learnt.estimate(Reader().read_many(new.prompts), [len(prompt) for prompt in new.prompts])
    assert told.p.shape == told.p_sd.shape == told.cost.shape == told.cost_sd.shape == (200, 3)
    assert told.p.min() >= 0 and told.p.max() <= 1 and told.p_sd.min() > 0
    for kind, truth in CHANCES.items():
        rows = np.array(new.tasks) == kind
        error = np.abs(told.p[rows].mean(0) - np.array(truth))
        assert (error < 3 * told.p_sd[rows].mean(0) + 0.1).all()


@pytest.mark.parametrize("rows", [20, 40, 60])
def test_few_labels_are_never_worse_than_none(rows: int) -> None:
    """A home with a handful of grades would be routed by chance."""
    known, new = data(rows, seed=6), data(200, seed=7)
    chosen = fitted(known).predict(new.prompts)[0].argmax(1)
    prior = int(fitted(known).success.argmax())
    assert expected(new.tasks, chosen) >= expected(new.tasks, np.full(200, prior)) - 0.02


def test_the_same_seed_gives_the_same_router() -> None:
    """A refit could not be compared with what it was checked by."""
    rows = data(120)
    first, second = fitted(rows), fitted(rows)
    assert all(
        np.array_equal(a, b) for a, b in zip(first.predict(rows.prompts), second.predict(rows.prompts), strict=True)
    )
    other = LearnedRouter(False, seed=1, settings=SMALL).fit(rows.prompts, rows.tasks, rows.scores, rows.costs, MODELS)
    assert not np.array_equal(first.predict(rows.prompts)[0], other.predict(rows.prompts)[0])


def test_tasks_that_are_not_given_are_found() -> None:
    """Who has no names for kinds of prompts could not fit a router."""
    rows, new = data(300), data(100, seed=8)
    router = LearnedRouter(False, settings=SMALL).fit(rows.prompts, None, rows.scores, rows.costs, MODELS)
    assert router.report.tasks_found and router.report.tasks >= 2
    chosen = router.predict(new.prompts)[0].argmax(1)
    assert expected(new.tasks, chosen) > expected(new.tasks, np.full(100, best_single(rows))) + 0.02


@pytest.mark.parametrize(
    "prompt",
    ["", " ", "\x00\x01ÿ" * 500, "数学 что такое ¿cuánto? 😀" * 50, "word " * 200_000, "9" * 5_000, "\n" * 9_000],
)
def test_any_text_is_answered_with_numbers(learnt: LearnedRouter, prompt: str) -> None:
    """A strange prompt would break the call instead of being routed."""
    chances, costs = learnt.predict([prompt])
    assert np.isfinite(chances).all() and np.isfinite(costs).all() and (costs > 0).all()


def test_many_prompts_are_told_what_each_is_told_alone(learnt: LearnedRouter) -> None:
    """A batch would be routed otherwise than the calls in it."""
    prompts = data(20, seed=10).prompts
    together = learnt.predict(prompts)[0]
    alone = np.concatenate([learnt.predict([prompt])[0] for prompt in prompts])
    same = np.isclose(together, alone, atol=1e-4).all(1)
    assert same.mean() >= 0.9, "rounding may tell which of two rows equally near is the last neighbour, no more"
    assert np.allclose(together, alone, atol=0.05)
    assert learnt.predict([])[0].shape == (0, 3)


def test_readings_without_text_teach_as_well() -> None:
    """A ledger that keeps no prompts could not learn from its grades."""
    reader = Reader()
    rows, new = data(300), data(100, seed=11)
    kept = [unpack(pack(reader.read(prompt))) for prompt in rows.prompts]
    lengths = [len(prompt) for prompt in rows.prompts]
    router = LearnedRouter(False, settings=SMALL).fit_readings(kept, lengths, None, rows.scores, rows.costs, MODELS)
    chosen = router.predict(new.prompts)[0].argmax(1)
    assert expected(new.tasks, chosen) > expected(new.tasks, np.full(100, best_single(rows))) + 0.02
    live = router.estimate(reader.read_many(new.prompts), [len(prompt) for prompt in new.prompts])
    stored = router.estimate(
        Readings.of([unpack(pack(reader.read(prompt))) for prompt in new.prompts]),
        [len(prompt) for prompt in new.prompts],
    )
    assert np.abs(live.p - stored.p).mean() < 0.02


def test_the_best_single_model_takes_over_where_no_model_leads_it_by_the_margin() -> None:
    """A model that seems a hair better would be chosen on every prompt, and the order of the prompts would be lost."""
    chances = np.array([[0.70, 0.71], [0.70, 0.74], [0.70, 0.90], [0.80, 0.60]])
    margins = Margins(usual=Margin(0.1, 0.01), novel=NEVER, novel_from=0.5)
    saving = np.tile([0.0, 0.5], (4, 1))
    safe = prefer_best(chances, saving, 0, margins, np.zeros(4))
    assert safe.argmax(1).tolist() == [0, 0, 1, 0]
    assert np.argsort(safe[:, 0] - safe[:, 1]).tolist() == np.argsort(chances[:, 0] - chances[:, 1]).tolist()
    priced = 0.001 * saving  # the least price on cost: the choice is what it would have been
    assert (safe + priced).argmax(1).tolist() == chances.argmax(1).tolist()
    assert prefer_best(chances, saving, 0, margins, np.ones(4)).argmax(1).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("share_lost", "asked"), [(0.0, 0.06), (0.2, 9.0)])
def test_the_margin_on_novel_prompts_is_the_least_that_did_no_harm_on_tasks_left_out(
    share_lost: float, asked: float
) -> None:
    """Leaving the best single model on new prompts would cost more than is allowed, or would never happen."""
    tasks, each = 20, 50
    loses = np.arange(tasks * each) % each < share_lost * each
    scores = np.stack([np.ones(len(loses)), ~loses], 1)
    nothing = Reader().read_many([""] * len(loses))
    labels = check(nothing, np.zeros(len(loses)), None, scores, None, ["best", "new"], ["x"] * len(loses))
    chances, saving = np.tile([0.4, 0.95], (len(loses), 1)), np.zeros((len(loses), 2))
    numbers = np.repeat(np.arange(tasks), each)
    margins, trials = choose_margins(chances, saving, np.ones(len(loses)), labels, numbers, 0, Settings())
    assert margins.novel.asked == asked and margins.usual.asked == (0.06 if asked < 9 else 0.5)
    assert trials[-1].gain == 0


def test_word_problems_are_known_and_the_harder_are_left_to_the_stronger_model() -> None:
    """A router that was fitted on other prompts would rank them by what does not carry over, or all else by length."""
    problem = "A farmer sells 48 eggs in the morning and half as many at noon. How many eggs does he sell that day?"
    texts = [problem, problem + " He packs them in boxes of six, and one box in eight breaks on the way." * 3, "hi"]
    readings, shipped = Reader().read_many(texts), shipped_word_problems()
    assert (shipped.predict(readings) > 0.9).tolist() == [True, True, False]
    beyond = shipped.leave_hard_to_strong(np.zeros((3, 2)), readings, np.array([0.9, 0.5]), missing=1.0)
    lead = beyond[:, 0] - beyond[:, 1]
    assert lead[1] > lead[0] + 0.02 and lead[2] == 0


def test_two_hundred_rows_of_five_models_are_fitted_in_bounded_time() -> None:
    """Nobody would train a router that takes all night."""
    rows = data(200)
    models = [*MODELS, "fourth", "fifth"]
    scores, costs = (np.concatenate([table, table[:, :2]], 1) for table in (rows.scores, rows.costs))
    began = time.process_time()
    LearnedRouter(pretrained=False).fit(rows.prompts, rows.tasks, scores, costs, models)
    assert time.process_time() - began < 60
