"""From outcomes to a new state. Pure: what was learned depends on the state and the outcomes alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite, sqrt
from typing import TypeVar

from msgspec import structs

from ..core import Nanos
from ..stats.drift import Drift, watch
from .decision import Believes, Evidence, Grade, Outcome, Prefill, RouteState, Seen
from .lengths import Lengths, lengths_of

MOST_OF_ONE = 100.0
"""No grade adds more to any sum of its model's evidence: weights are at most 5, contexts some units."""

K = TypeVar("K", Grade, Outcome)


def learn(state: RouteState, outcomes: Sequence[Outcome | Grade]) -> RouteState:
    """The state after these outcomes, one version on."""
    attempts = [one for one in outcomes if isinstance(one, Outcome)]
    grades = [one for one in outcomes if isinstance(one, Grade)]
    seen = dict(state.seen)
    for model, its_attempts in _by_model(attempts).items():
        seen[model] = seen.get(model, Seen()) + _seen(its_attempts)
    learnt = structs.replace(
        state,
        version=state.version + 1,
        seen=seen,
        lengths=state.lengths + _lengths(attempts),
        spent=Nanos(state.spent + sum(one.spent for one in attempts)),
        explored=Nanos(state.explored + sum(one.explored for one in attempts)),
    )
    return _graded(learnt, grades) if grades else learnt


def merge(one: RouteState, other: RouteState) -> RouteState:
    """What two processes learned from different calls, added up. Of a model's drift the longer watch is believed."""
    drift = {**one.drift, **other.drift}
    for model in one.drift.keys() & other.drift.keys():
        drift[model] = max(one.drift[model], other.drift[model], key=lambda watched: watched.seen)
    return with_beliefs(
        RouteState(
            version=max(one.version, other.version) + 1,
            seen=_added(one.seen, other.seen),
            lengths=one.lengths + other.lengths,
            evidence=_added(one.evidence, other.evidence),
            drift=drift,
            spent=Nanos(one.spent + other.spent),
            explored=Nanos(one.explored + other.explored),
        )
    )


def with_beliefs(state: RouteState) -> RouteState:
    """The same state with what follows from its evidence: for one that was read from where states are kept."""
    from .bandit import believe  # numpy: not for a process in which no call was ever graded

    return structs.replace(state, beliefs=believe(state.evidence) if state.evidence else None)


def sound(state: RouteState, through: int = 0) -> RouteState:
    """Without what cannot have come from grades: for a state that was stored, and may have been damaged there.
    `through`: the number of the last grade that is in it."""
    evidence = {model: one for model, one in state.evidence.items() if _is_possible(one)}
    sizes = Counter(len(one.moment) for one in evidence.values() if one.grades)
    usual = max(sizes, key=lambda size: (sizes[size], size), default=0)
    evidence = {model: one for model, one in evidence.items() if len(one.moment) in (0, usual)}
    return structs.replace(
        state,
        evidence={
            model: evidence.get(model, Evidence(epoch=one.epoch, since=through))
            for model, one in state.evidence.items()
        },
        drift={
            model: one
            for model, one in state.drift.items()
            if model in evidence and one.seen >= 0 and isfinite(one.usual) and isfinite(one.excess)
        },
    )


def changed_models(before: RouteState, after: RouteState) -> list[str]:
    """The models that were found to do worse than they did."""
    return [
        model
        for model, evidence in after.evidence.items()
        if evidence.epoch > before.evidence.get(model, Evidence()).epoch
    ]


def _graded(state: RouteState, grades: Sequence[Grade]) -> RouteState:
    """What a grade of another length of context says (an older reading of prompts) cannot be added, and is left out."""
    size, latest = len(grades[-1].context), max(one.number for one in grades)
    usable = [one for one in grades if len(one.context) == size]
    evidence = {
        model: one if len(one.moment) in (0, size) else Evidence(epoch=one.epoch, since=latest)
        for model, one in state.evidence.items()
    }
    if evidence != state.evidence:
        state = structs.replace(state, beliefs=None)
    drift = {model: one for model, one in state.drift.items() if evidence.get(model) == state.evidence.get(model)}
    for model, its_grades in _by_model(usable).items():
        evidence[model], drift[model] = _followed(
            evidence.get(model, Evidence()), drift.get(model, Drift()), its_grades, state.beliefs
        )
    return with_beliefs(structs.replace(state, evidence=evidence, drift=drift))


def _followed(
    before: Evidence, drift: Drift, grades: Sequence[Grade], beliefs: Believes | None
) -> tuple[Evidence, Drift]:
    """Of one model. A grade that takes the place of another is no news of the model, and is not watched."""
    from .bandit import corrected, gather

    after, news = before, [one for one in grades if one.instead is None]
    if news:
        fallen, drift = _watched(drift, news, beliefs)
        if fallen:
            after = Evidence(epoch=before.epoch + 1, since=max(one.number for one in news[:fallen]))
        if news[fallen:]:
            after += gather(news[fallen:], after.epoch)
    return corrected(after, grades), drift


def _watched(drift: Drift, grades: Sequence[Grade], beliefs: Believes | None) -> tuple[int, Drift]:
    """How many grades had come when the model was found to have become worse (0: it was not), and the watch after them
    all."""
    from .bandit import surprises

    fallen = 0
    for place, surprise in enumerate(surprises(grades, beliefs), 1):
        drift, alarm = watch(drift, surprise)
        if alarm:
            fallen = place
    return fallen, drift


def _is_possible(one: Evidence) -> bool:
    size, most = len(one.moment), MOST_OF_ONE * one.grades
    if one.grades < 0 or bool(size) != bool(one.grades) or len(one.gram) != size * size:
        return False
    if not all(-most <= number <= most for number in (*one.gram, *one.moment)):  # NaN too
        return False
    spread = [sqrt(max(one.gram[place * (size + 1)], 0.0)) * 1.001 for place in range(size)]
    return all(
        abs(one.gram[row * size + column]) <= spread[row] * spread[column] + 1e-9
        for row in range(size)
        for column in range(size)
    )


def _by_model(outcomes: Sequence[K]) -> dict[str, list[K]]:
    by_model: dict[str, list[K]] = {}
    for outcome in outcomes:
        by_model.setdefault(outcome.model, []).append(outcome)
    return by_model


def _seen(attempts: Sequence[Outcome]) -> Seen:
    good = [one for one in attempts if one.ok]
    return Seen(
        calls=len(attempts),
        failed=len(attempts) - len(good),
        ttft=sum(one.ttft or 0.0 for one in good),
        seconds=sum(one.seconds for one in good),
        timed=len(good),
        output_tokens=sum(one.output_tokens for one in good),
        prefill=_prefill(good),
        lengths=_lengths(good),
    )


def _lengths(attempts: Sequence[Outcome]) -> Lengths:
    return lengths_of((one.kind, one.output_tokens) for one in attempts if one.ok and one.ended)


def _prefill(good: Sequence[Outcome]) -> Prefill:
    timed = [(one.input_tokens, one.ttft) for one in good if one.input_tokens is not None and one.ttft is not None]
    return Prefill(
        answers=len(timed),
        tokens=float(sum(tokens for tokens, _ in timed)),
        ttft=sum(ttft for _, ttft in timed),
        tokens_squared=float(sum(tokens * tokens for tokens, _ in timed)),
        tokens_by_ttft=sum(tokens * ttft for tokens, ttft in timed),
    )


S = TypeVar("S", Seen, Evidence)


def _added(one: Mapping[str, S], other: Mapping[str, S]) -> dict[str, S]:
    added = dict(one)
    for model, sums in other.items():
        added[model] = added[model] + sums if model in added else sums
    return added
