"""Fitting a router on graded prompts, and judging it by rows that it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from graded_prompts import COST, MODELS, SKILL, grades, prompts, write_outcomes
from pointsman.core import Chat, Message, Nanos, Text, Weighed
from pointsman.lab.outcomes import read_outcomes
from pointsman.lab.training import InUse, NotTrainable, Trained, forecast, read_rows, train
from pointsman.lab.training_report import NEW, SINGLE, Forecasts, HeldOut, Report, report_of
from pointsman.lab.training_rows import Rows, fold_of, rows_of_ledger, rows_of_outcomes, stem
from pointsman.ledger import Body, Entry, Ledger
from pointsman.ledger.feedback import Feedback
from pointsman.routing import read_prompt
from pointsman.routing.learned import LearnedRouter, Reader, pack
from pointsman.routing.learned.settings import Settings

SMALL = Settings(
    text_directions=20,
    tree_directions=10,
    folds=2,
    hidden=16,
    networks=1,
    blind_networks=1,
    trees=20,
    tries=8,
    groups=3,
    group_trees=6,
)
NOON = 1_795_000_000.0


def known_rows(count: int, seed: int = 0) -> tuple[Rows, NDArray[np.intp]]:
    """A full table, and the kind of each prompt."""
    texts, kinds = prompts(count, seed)
    scores = grades(kinds, seed)
    return plain_rows(texts, scores, np.tile(COST, (count, 1))), kinds


def plain_rows(texts: Sequence[str], scores: NDArray[np.float64], costs: NDArray[np.float64]) -> Rows:
    return Rows(
        models=MODELS,
        prompts=tuple(texts),
        vectors=(b"",) * len(texts),
        chars=np.array([len(text) for text in texts], dtype=float),
        stems=tuple(stem(text) for text in texts),
        kinds=("chat",) * len(texts),
        tasks=None,
        scores=scores,
        costs=costs,
        chances=np.full(scores.shape, np.nan),
        expected=np.full(scores.shape, np.nan),
        times=np.full(len(texts), np.nan),
    )


def held_out(rows: Rows, quality: NDArray[np.float64], **changes: object) -> HeldOut:
    """As it would be with a router that expects `quality`, and a fit that knew the truth of all means."""
    shape = rows.scores.shape
    plain = HeldOut(
        rows=rows,
        new=Forecasts(quality, np.zeros(shape), np.tile(COST, (len(rows), 1))),
        known_scores=np.tile(SKILL.mean(axis=0), (len(rows), 1)),
        sure_scores=np.tile(SKILL.mean(axis=0), (len(rows), 1)),
        known_costs=np.tile(COST, (len(rows), 1)),
        shares=np.ones(shape),
        prior=np.full(shape, np.nan),
    )
    return msgspec.structs.replace(plain, **changes)


def judged(rows: Rows, quality: NDArray[np.float64], **changes: object) -> Report:
    return report_of("test", rows, held_out(rows, quality, **changes), 5, 0)


def test_a_report_on_a_full_table_tells_plain_means() -> None:
    """Nobody could check a figure of the report by hand."""
    rows, kinds = known_rows(400)
    report = judged(rows, SKILL[kinds])
    quality, single = report.by_weight[0].policies[0], report.by_weight[0].policies[1]
    specialist = np.array([2, 3, 0])[kinds]
    reached = rows.scores[np.arange(400), specialist]
    assert (quality.policy, single.policy) == (NEW, SINGLE)
    assert quality.quality.value == pytest.approx(reached.mean())
    assert single.quality.value == pytest.approx(rows.scores[:, MODELS.index("large")].mean())
    assert report.by_weight[0].best_single == ("large",)
    assert quality.gain is not None and single.gain is None
    assert quality.gain.value == pytest.approx(quality.quality.value - single.quality.value)
    assert quality.cost_usd is not None and quality.cost_usd.value == pytest.approx(0.001)
    assert quality.quality.low < 0.95 < quality.quality.high
    plain_error = reached.std() / np.sqrt(400)
    assert quality.quality.error == pytest.approx(plain_error, rel=0.15)


def test_cost_counts_by_its_weight() -> None:
    """A router that saves nine tenths of the money would look no better than one that does not."""
    rows, kinds = known_rows(400)
    by_weight = {each.cost_weight: each for each in judged(rows, SKILL[kinds]).by_weight}
    free, middling = by_weight[0.0].policies[0].gain, by_weight[0.1].policies[0].gain
    assert free is not None and middling is not None
    assert by_weight[0.1].best_single == ("large",)
    assert middling.value == pytest.approx(free.value + 0.1 * 0.9)  # a tenth of what the dearest model costs
    assert by_weight[0.3].best_single == ("coder",)  # 0.48 - 0.03 is more than 0.70 - 0.30


def test_each_model_is_told_with_how_well_it_was_foreseen() -> None:
    """A router that is right by luck could not be told from one that knows."""
    rows, kinds = known_rows(600)
    by_name = {model.model: model for model in judged(rows, SKILL[kinds]).by_model}
    poet = by_name["poet"]
    expected = SKILL[kinds][:, MODELS.index("poet")]
    assert poet.rows == 600
    assert poet.score == pytest.approx(rows.scores[:, MODELS.index("poet")].mean())
    assert poet.predicted == pytest.approx(expected.mean())
    truth = float((expected * (1 - expected)).mean())
    assert poet.brier == pytest.approx(truth, abs=0.03)
    assert poet.brier_of_mean is not None and poet.brier is not None and poet.brier_of_mean > poet.brier + 0.05
    assert poet.calibration is not None and poet.calibration < 0.06


def test_a_log_of_drawn_answers_tells_the_truth_of_a_policy() -> None:
    """With one answer to each prompt the report would tell what the log's policy reached, not what the router would."""
    rows, kinds = known_rows(3_000)
    chances = np.array([[0.4, 0.3, 0.1, 0.1, 0.1], [0.1, 0.3, 0.4, 0.1, 0.1], [0.1, 0.3, 0.1, 0.4, 0.1]])[kinds]
    dice = np.random.default_rng(3)
    drawn = np.array([dice.choice(5, p=row) for row in chances])
    seen = np.arange(5) == drawn[:, None]
    log = msgspec.structs.replace(rows, scores=np.where(seen, rows.scores, np.nan), chances=chances)
    report = judged(log, SKILL[kinds], shares=np.tile(seen.mean(axis=0), (len(rows), 1)))
    policy = report.by_weight[0].policies[0]
    assert policy.quality.value == pytest.approx(0.95, abs=3.5 * policy.quality.error)
    assert policy.gain is not None and policy.gain.value == pytest.approx(0.25, abs=3.5 * policy.gain.error)
    assert policy.quality.error > 0.01  # five times as uncertain as a full table, and said to be
    assert report.is_better and report.missing == 4 * 3_000


def test_figures_are_of_the_rows_of_which_the_log_can_tell() -> None:
    """The best single model would be praised for the prompts that it was sent, and nobody could see that."""
    rows, kinds = known_rows(3_000)
    nearly_all = [0.98, 0.005, 0.005, 0.005, 0.005]
    chances = np.array([[0.0, 0.9, 0.1, 0.0, 0.0], [0.0, 0.9, 0.0, 0.1, 0.0], nearly_all])[kinds]
    dice = np.random.default_rng(3)
    seen = np.arange(5) == np.array([dice.choice(5, p=row) for row in chances])[:, None]
    log = msgspec.structs.replace(
        rows,
        scores=np.where(seen, np.where(kinds[:, None] == 2, SKILL[kinds] - 0.2, SKILL[kinds]), np.nan),
        chances=chances,
        expected=SKILL[kinds],
        costs=np.full((3_000, 5), np.nan),
    )
    report = judged(log, SKILL[kinds], shares=np.tile(seen.mean(axis=0), (len(rows), 1)))
    new, single = report.by_weight[0].policies[:2]
    elsewhere = int((kinds != 2).sum())
    assert new.rows == single.rows == elsewhere < report.held_out == 3_000
    assert new.quality is not None and single.quality is not None and new.gain is not None
    assert (new.quality.value, single.quality.value) == (pytest.approx(0.95), pytest.approx(0.7))
    assert new.gain.value == pytest.approx(new.quality.value - single.quality.value)
    # All rows count for the verdict: of code nobody can tell, so there is no gain.
    assert report.gain.value == pytest.approx(new.gain.value * elsewhere / 3_000)


def test_a_log_that_never_tried_a_model_cannot_praise_the_choice_of_it() -> None:
    """A router would be switched to for a model of which nobody knows how it does on these prompts."""
    rows, kinds = known_rows(1_000)
    always = np.arange(5) == np.full((1_000, 1), MODELS.index("large"))
    log = msgspec.structs.replace(rows, scores=np.where(always, rows.scores, np.nan), chances=always.astype(float))
    report = judged(log, SKILL[kinds])
    assert not report.is_better and report.gain.value <= 0 and report.telling == 0
    assert "0 held-out rows that could tell" in report.verdict


def test_noise_is_not_shown_to_be_better() -> None:
    """A router that chooses by chance would be switched to now and then."""
    rows, _ = known_rows(300)
    dice = np.random.default_rng(1)
    better = [judged(rows, dice.random(rows.scores.shape)).is_better for _ in range(12)]
    assert not any(better)


def test_what_is_worse_where_quality_alone_counts_is_not_switched_to() -> None:
    """Money saved would pay for bad answers, also for those who asked for the best one."""
    rows, _ = known_rows(2_000)
    is_small = np.arange(5) == MODELS.index("small")
    cheapest = np.tile(is_small, (2_000, 1)).astype(float)
    rows = msgspec.structs.replace(rows, scores=np.where(is_small, 0.65, rows.scores))
    report = judged(rows, cheapest)
    assert report.gain.value > 2 * report.gain.error
    assert not report.is_better and "where quality alone does" in report.verdict


def test_the_router_in_use_is_judged_by_rows_that_it_never_saw() -> None:
    """A router that knows its rows by heart could never be replaced, and a better one would be."""
    rows, kinds = known_rows(400)
    rows = msgspec.structs.replace(rows, times=NOON + np.arange(400.0))
    middling = np.where(np.arange(5) == MODELS.index("large"), 1.0, SKILL[kinds])
    best = Forecasts(SKILL[kinds], np.zeros((400, 5)), np.tile(COST, (400, 1)))
    report = judged(rows, middling, in_use=best, in_use_since=NOON + 200.5)
    assert report.rows_after_in_use == 199
    assert report.gain_over_in_use is not None and report.gain_over_in_use.value < -0.05
    late = judged(rows, middling, in_use=best, in_use_since=NOON + 1_000)
    assert late.gain_over_in_use is None and late.rows_after_in_use == 0
    assert [policy.policy for policy in late.by_weight[0].policies] == ["new router", "best single", "in use"]


def test_variants_of_a_question_are_held_out_together() -> None:
    """A router would be praised for knowing the answer to a question that it was fitted on."""
    first = "What is a signal box?\nA. a hut\nB. a lamp"
    second = "what is a  signal box\n(a) a lamp\n(b) a bridge"
    assert stem(first) == stem(second) == "what is a signal box"
    assert stem("???") == "???" and stem("") == ""
    folds = [fold_of(stem(text), 5) for text in prompts(500)[0]]
    assert all(60 < folds.count(fold) < 140 for fold in range(5))


def test_a_router_is_fitted_and_its_report_is_near_the_truth() -> None:
    """The report would promise what the router does not keep."""
    rows, _ = known_rows(200, seed=2)
    steps: list[str] = []
    report, router = fitted(rows, tell=steps.append)
    new = report.by_weight[0].policies[0]
    assert report.is_better and new.gain is not None
    assert len(steps) == 6 and report.held_out == 200 and report.folds == 5
    fresh, kinds = prompts(300, seed=99)
    chosen = router.predict(fresh)[0].argmax(axis=1)
    truth = float(SKILL[kinds, chosen].mean())
    assert truth > 0.8
    # The router that comes out has seen a quarter more rows than those that were judged.
    assert new.quality.value == pytest.approx(truth, abs=4 * new.quality.error + 0.03)


def test_a_router_of_vectors_alone_learns_too() -> None:
    """Whoever keeps no prompts, or only some of them, could never train."""
    rows, _ = known_rows(120, seed=2)
    reader = Reader()
    half = msgspec.structs.replace(
        rows,
        prompts=tuple(text if number % 2 else "" for number, text in enumerate(rows.prompts)),
        vectors=tuple(b"" if number % 2 else pack(reader.read(text)) for number, text in enumerate(rows.prompts)),
    )
    assert fitted(half).report.gain.value > 0.05


def test_too_few_rows_are_refused_with_their_number() -> None:
    """A router fitted on a handful of grades would be switched to."""
    with pytest.raises(NotTrainable, match="39 graded prompts are too few"):
        fitted(known_rows(39)[0])
    rows = known_rows(50)[0]
    alone = msgspec.structs.replace(rows, models=("large",), scores=rows.scores[:, :1], costs=rows.costs[:, :1])
    with pytest.raises(NotTrainable, match="two models"):
        fitted(alone)


def test_one_question_asked_in_fifty_ways_is_refused() -> None:
    """Nothing can be held out of it, and the program would divide by nothing."""
    rows = msgspec.structs.replace(known_rows(50)[0], stems=("the same",) * 50)
    with pytest.raises(NotTrainable, match="same question"):
        fitted(rows)


def test_rows_without_costs_and_models_without_grades_are_lived_with() -> None:
    """Free and local models have no price that anybody knows."""
    rows, _ = known_rows(60)
    scores = rows.scores.copy()
    scores[:, 4] = np.nan
    scores[0, 4] = 1.0
    rows = msgspec.structs.replace(rows, scores=scores, costs=np.full((60, 5), np.nan))
    report = fitted(rows).report
    assert [weight.cost_weight for weight in report.by_weight] == [0.0]
    assert report.missing == 59 and report.missing_costs == report.grades == 60 * 5 - 59
    assert all(policy.cost_usd is None for policy in report.by_weight[0].policies)


def test_outcomes_with_contradicting_lines_are_told(tmp_path: Path) -> None:
    """Bad data would be trained on in silence."""
    path = write_outcomes(tmp_path / "rows.jsonl", 50)
    text = path.read_text("utf-8").splitlines()[0]
    with path.open("a", encoding="utf-8") as file:
        row = msgspec.json.decode(text)
        file.write('{"prompt": "kept back", "model": "poet", "score": 1, "split": "test"}\n')
        file.write(text + "\n" + msgspec.json.encode({**row, "score": 1 - row["score"]}).decode() + "\n{broken\n")
    rows = rows_of_outcomes(read_outcomes(path))
    report = fitted(rows).report
    assert (rows.repeated, rows.contradicting) == (1, 1)
    assert (report.repeated, report.contradicting) == (1, 1)
    assert any("could not be read" in remark for remark in report.remarks)
    assert len(rows) == 50 and "kept back for tests (split `test`): 1" in report.remarks[-1]


def test_the_same_seed_gives_the_same_report() -> None:
    """What was looked at before the switch would not be what is switched to."""
    rows, _ = known_rows(40)
    assert fitted(rows, seed=5).report == fitted(rows, seed=5).report


def test_a_router_in_use_of_other_models_is_no_obstacle() -> None:
    """After a change of models nobody could train any more."""
    rows, _ = known_rows(40)
    every = np.ones(40, dtype=bool)
    readings = read_rows(rows)
    other = LearnedRouter(settings=SMALL).fit(
        rows.prompts, None, rows.scores[:, :2], rows.costs[:, :2], ["poet", "gone"]
    )
    expected = forecast(other, rows.models, readings, rows.chars, every)
    assert np.isfinite(expected.quality).all(axis=0).tolist() == [model == "poet" for model in MODELS]
    report = fitted(rows, in_use=InUse(other, NOON)).report
    in_use = [policy for policy in report.by_weight[0].policies if policy.policy == "in use"]
    assert len(in_use) == 1 and in_use[0].quality.value == pytest.approx(float(rows.scores[:, 3].mean()))
    stranger = expected._replace(quality=np.full((40, 5), np.nan))
    names = [policy.policy for policy in judged(rows, rows.scores, in_use=stranger).by_weight[0].policies]
    assert names == [NEW, SINGLE]


def fitted(rows: Rows, **options: object) -> Trained:
    return train(rows, source="test", settings=SMALL, **options)  # type: ignore[arg-type]


# From the ledger.


class Log:
    """A real ledger, into which calls are written as a gateway writes them."""

    def __init__(self, home: Path) -> None:
        self.ledger = Ledger.open(home, keep_bodies=True)
        self.number = 0

    def call(self, model: str, score: float, *, body: bytes = b"", **fields: object) -> str:
        self.number += 1
        attempt, call = f"{self.number:032x}", f"{self.number + 10**6:032x}"
        if body:
            self.ledger.record_body(Body(attempt, NOON + self.number, body, "an answer"))
        plain = {"endpoint": f"mine/{model}", "provider": "mine", "status": "ok", "seconds": 1.0, "dialect": "openai"}
        ids = {"attempt_id": attempt, "call_id": call, "at": NOON + self.number, "model": model}
        self.ledger.record(Entry(**(ids | plain | fields)))  # type: ignore[arg-type]
        self.ledger.flush()
        self.grade(call, score)
        return call

    def grade(self, call: str, score: float, **fields: object) -> None:
        self.ledger.feedback.add(Feedback(call, NOON, score, **fields))  # type: ignore[arg-type]

    def rows(self) -> Rows:
        return rows_of_ledger(self.ledger.feedback.graded(), self.ledger.queries.body)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def said(text: str) -> bytes:
    """The body of an OpenAI call."""
    return msgspec.json.encode({"model": "auto", "messages": [{"role": "user", "content": text}]})


def test_calls_of_one_prompt_are_one_row(log: Log) -> None:
    """A prompt that two models answered could not tell them apart."""
    log.call("a", 1.0, body=said("What is a switch?"), cost=Nanos(2_000_000))
    log.call("b", 0.0, body=said("What is a switch?"), cost=Nanos(1_000_000))
    log.call("a", 0.5, body=said("What is a frog?"))
    rows = log.rows()
    assert rows.models == ("a", "b") and rows.prompts == ("What is a switch?", "What is a frog?")
    np.testing.assert_array_equal(rows.scores, [[1, 0], [0.5, np.nan]])
    np.testing.assert_array_equal(rows.costs, [[0.002, 0.001], [np.nan, np.nan]])
    assert rows.have_text and rows.grades == 3 and rows.remarks == ()


def test_grades_of_one_answer_are_weighed_by_who_gave_them(log: Log) -> None:
    """One who is often wrong would count as much as the one who asked."""
    call = log.call("a", 1.0, body=said("What is a switch?"), cost=Nanos(2_000_000))
    log.grade(call, 0.0, source="judge", reliability=0.5)
    log.grade(call, 0.9, source="user", key="another")
    rows = log.rows()
    assert rows.scores[0, 0] == pytest.approx((1 + 0.9) / 2.5)
    assert rows.costs[0, 0] == pytest.approx(0.002)
    assert (rows.repeated, rows.contradicting) == (1, 1)
    assert len(rows.remarks) == 2 and "contradict" in rows.remarks[1]
    other = log.call("a", 0.5, body=said("other"))
    log.grade(other, 1.0, source="judge", reliability=0.0)
    log.grade(other, 0.0, source="automatic", reliability=0.9)
    assert log.rows().scores[1, 0] == 0.5


def test_chances_are_taken_where_the_choice_was_drawn(log: Log) -> None:
    """What a policy would never have chosen would be told from what it happened not to choose."""
    weighed = (
        Weighed("a", 0.5, 0.75, quality=0.6),
        Weighed("b", 0.4, 0.25, quality=0.8),
        Weighed("c", rejected="no key"),
    )
    log.call("a", 1.0, body=said("drawn"), candidates=weighed, probability=0.75)
    log.call("b", 1.0, body=said("taken over"), candidates=weighed, probability=0.25, retry=1)
    log.call("b", 1.0, body=said("named"))
    twice = {"body": said("asked twice"), "candidates": weighed}
    log.call("a", 1.0, **twice)
    log.call("b", 1.0, **twice)
    rows, unknown = log.rows(), [[np.nan, np.nan]] * 3
    np.testing.assert_array_equal(rows.chances, [[0.75, 0.25], *unknown])
    np.testing.assert_allclose(rows.expected, [[0.6, 0.8], *unknown])


def test_without_text_the_vector_of_the_entry_is_taken(log: Log) -> None:
    """Whoever keeps no prompts would have nothing to train on."""
    text = "Prove that there are infinitely many primes."
    prompt = read_prompt(Chat((Message("user", (Text(text),)),)))
    features = msgspec.structs.replace(prompt, vector=pack(Reader().read(text))).encode()
    log.call("a", 1.0, features=features)
    log.call("b", 0.0, features=features)
    log.call("b", 0.0, features=prompt.encode())
    log.call("b", 0.0, body=b"\xff{ no json", features=features)
    rows = log.rows()
    assert len(rows) == 1 and rows.prompts == ("",) and len(rows.vectors[0]) > 0
    assert rows.chars[0] == len(text) and not rows.have_text
    assert rows.remarks[0].startswith("Left out") and ": 1 of the graded calls" in rows.remarks[0]


def test_our_own_calls_are_read_as_text(log: Log) -> None:
    """What was asked on the command line could not be learned from."""
    own = msgspec.json.encode(Chat((Message("user", (Text("What is a frog?"),)),)))
    log.call("a", 1.0, body=own, dialect="")
    assert log.rows().prompts == ("What is a frog?",)


def test_a_ledger_without_grades_gives_no_rows(log: Log) -> None:
    """A first try would end in a traceback."""
    assert len(log.rows()) == 0 and log.rows().scores.shape == (0, 0)
    with pytest.raises(NotTrainable, match="0 graded prompts"):
        fitted(log.rows())
