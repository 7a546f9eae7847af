"""What is expected of a candidate: how good its answer will be, what it costs, how long it takes; each uncertain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median

from msgspec import Struct, structs

from ..core import TOKENS_PER_MTOK, Nanos, tokens_cost
from .decision import NO_FORECAST, Candidate, Conversation, Estimate, Forecast, RouteState, Seen
from .latency import SEEN_ENOUGH, seconds_of
from .lengths import expected_length, kind_of
from .prompt import Prompt

NOTHING_SEEN = Seen()
UNKNOWN_QUALITY = 0.5

RUBRIC_SD, PROFILE_SD, UNKNOWN_SD = 0.1, 0.15, 0.25
"""How far a stated quality may be off: of the task, over all tasks, of a model of which nothing is said."""


def qualities(
    candidates: Sequence[Candidate], task: str, forecast: Forecast, state: RouteState
) -> list[tuple[Estimate, Estimate | None]]:
    """Of each candidate the prior, and what graded calls add to it."""
    stated = [_stated(candidate, task) for candidate in candidates]
    ahead = _ahead(candidates, stated, forecast)
    priors = [
        forecast.quality.get(candidate.name) or _under_demand(its_own, ahead, forecast.demand)
        for candidate, its_own in zip(candidates, stated, strict=True)
    ]
    context = forecast.context
    if state.beliefs is None or not context:
        return [(prior, None) for prior in priors]
    gains = state.beliefs.about(context, [candidate.name for candidate in candidates])
    return list(zip(priors, gains, strict=True))


def _stated(candidate: Candidate, task: str) -> Estimate:
    rubric = candidate.rubrics.get(task)
    if rubric is not None:
        return Estimate(rubric.performance / 10, RUBRIC_SD, "stated")
    if candidate.quality is None:
        return Estimate(UNKNOWN_QUALITY, UNKNOWN_SD, "assumed")
    return Estimate(candidate.quality, PROFILE_SD, "stated")


def _ahead(candidates: Sequence[Candidate], stated: Sequence[Estimate], forecast: Forecast) -> float:
    """By how much outcomes are better (above 0) than profiles say, as the logarithm of odds: of the models that have
    both. Profiles and outcomes are on two scales, and a model that has but a profile is weighed against the others."""
    both = [
        log_odds(forecast.usual[candidate.name]) - log_odds(its_own.value)
        for candidate, its_own in zip(candidates, stated, strict=True)
        if candidate.name in forecast.usual
    ]
    return fmean(both) if both else 0.0


def _under_demand(stated: Estimate, ahead: float, demand: Estimate | None) -> Estimate:
    """What a model that the router was not fitted on will do: its ability, less what the prompt demands, as in the
    logistic model of tests (Rasch 1960); integrated over the doubt about the demand by k = √(1 + π/8·sd²) (MacKay
    1992). Without a router the stated ability stays."""
    if demand is None:
        return stated
    spread = math.sqrt(1 + math.pi / 8 * demand.sd**2)
    odds = log_odds(stated.value) + ahead - demand.value / spread
    return structs.replace(stated, value=1 / (1 + math.exp(-odds)))


def log_odds(share: float) -> float:
    """log(p/(1 − p)), of shares as from 0.01 to 0.99."""
    share = min(max(share, 0.01), 0.99)
    return math.log(share / (1 - share))


def quality_of(candidate: Candidate, task: str) -> float:
    """0 to 1: the rubric of the task, else the profile, else one half."""
    return _stated(candidate, task).value


class Expense(Struct, frozen=True):
    """What an answer of one candidate takes."""

    tokens: Estimate
    """Of the answer, what it thinks included."""
    cost: Estimate | None
    """Nano-dollars; None where a price is unknown."""
    seconds: Estimate | None
    """Until the answer is whole: "assumed" where only that of its like is known, None where none is."""
    worst: Nanos | None
    """The cost where the answer takes all that the caller allows."""


def expenses_of(
    candidates: Sequence[Candidate],
    prompt: Prompt,
    state: RouteState,
    *,
    max_tokens: int | None = None,
    forecast: Forecast = NO_FORECAST,
    conversation: Conversation | None = None,
) -> list[Expense]:
    """Of each candidate. How long the answer gets says what it costs and how long it takes, so both follow the prompt
    where a router was fitted, and the model's own ways where it has answered.

    A speed that nobody knows is taken to be that of its like, the candidates that run at such a place: else whoever was
    never measured would be taken for quick among the slow."""
    found = [
        _expense(candidate, prompt, state, max_tokens=max_tokens, forecast=forecast, conversation=conversation)
        for candidate in candidates
    ]
    if all(one.seconds for one in found):
        return found
    known: dict[str, list[float]] = {}
    for candidate, expense in zip(candidates, found, strict=True):
        if expense.seconds is not None:
            known.setdefault(candidate.deployment, []).append(expense.seconds.value)
    return [
        structs.replace(expense, seconds=_like(known[candidate.deployment]))
        if expense.seconds is None and candidate.deployment in known
        else expense
        for candidate, expense in zip(candidates, found, strict=True)
    ]


def _like(known: Sequence[float]) -> Estimate:
    seconds = median(known)
    return Estimate(seconds, seconds, "assumed")


def _expense(
    candidate: Candidate,
    prompt: Prompt,
    state: RouteState,
    *,
    max_tokens: int | None,
    forecast: Forecast,
    conversation: Conversation | None,
) -> Expense:
    tokens = _tokens(candidate, prompt, state, forecast)
    if max_tokens is not None and 0 < max_tokens < tokens.value:
        tokens = structs.replace(tokens, value=float(max_tokens), sd=min(tokens.sd, max_tokens))
    cached = _cached(candidate, prompt, conversation)
    cost = _cost(candidate, prompt, round(tokens.value), cached)
    return Expense(
        tokens,
        # What the router was fitted on was paid, whatever the prices are that nobody knows.
        forecast.cost.get(candidate.name)
        if cost is None
        else Estimate(float(cost), (candidate.output_price or 0) * tokens.sd / TOKENS_PER_MTOK, tokens.source),
        seconds_of(candidate, prompt.input_tokens - cached, tokens, state.seen.get(candidate.name)),
        _cost(candidate, prompt, max_tokens or round(tokens.value), 0),
    )


def _tokens(candidate: Candidate, prompt: Prompt, state: RouteState, forecast: Forecast) -> Estimate:
    """What the router's cost buys, else what answers to such prompts have taken. Lengths vary about as much as their
    mean, as times of waiting do."""
    fitted, price = forecast.cost.get(candidate.name), candidate.output_price
    asked = _cost(candidate, prompt, 0, 0)
    if fitted is not None and price and asked is not None:
        bought = (fitted.value - asked) * TOKENS_PER_MTOK / price
        return Estimate(max(1.0, bought), fitted.sd * TOKENS_PER_MTOK / price, "learned")
    own = state.seen.get(candidate.name, NOTHING_SEEN).lengths
    mean = expected_length(kind_of(prompt.complexity, prompt.task), state.lengths, own)
    return Estimate(mean, mean, "measured" if own.answers >= SEEN_ENOUGH else "assumed")


def _cost(candidate: Candidate, prompt: Prompt, output_tokens: int, cached: int) -> Nanos | None:
    """From estimated tokens, `cached` of which the model has in its cache; None where a price is unknown."""
    if candidate.input_price is None or candidate.output_price is None:
        return None
    cached_price = candidate.input_price if candidate.cached_price is None else candidate.cached_price
    return Nanos(
        tokens_cost(prompt.input_tokens - cached, candidate.input_price)
        + tokens_cost(cached, cached_price)
        + tokens_cost(output_tokens, candidate.output_price)
    )


def _cached(candidate: Candidate, prompt: Prompt, conversation: Conversation | None) -> int:
    """Tokens of the prompt that the model of the conversation has read before: any other reads them anew."""
    if conversation is None or conversation.model != candidate.name:
        return 0
    return min(conversation.cached_tokens, prompt.input_tokens)
