"""What is expected of a candidate: how good its answer will be, what it costs, how long it takes; each uncertain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from msgspec import structs

from ..core import TOKENS_PER_MTOK
from .decision import Candidate, Conversation, Estimate, Forecast, RouteState
from .filters import expected_cost, expected_seconds
from .prompt import Prompt

UNKNOWN_QUALITY = 0.5
SEEN_ENOUGH = 3
"""From so many timed calls on, what was measured replaces what was stated."""

RUBRIC_SD, PROFILE_SD, UNKNOWN_SD = 0.1, 0.15, 0.25
"""How far a stated quality may be off: of the task, over all tasks, of a model of which nothing is said."""


def measured(candidate: Candidate, state: RouteState) -> Candidate:
    """The candidate with the speed that was measured, where it was."""
    seen = state.seen.get(candidate.name)
    if seen is None or seen.timed < SEEN_ENOUGH:
        return candidate
    writing = seen.seconds - seen.ttft
    return structs.replace(
        candidate,
        ttft=seen.ttft / seen.timed,
        output_rate=seen.output_tokens / writing if writing > 0 and seen.output_tokens else candidate.output_rate,
    )


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


def cost_of(candidate: Candidate, prompt: Prompt, tokens: int, conversation: Conversation | None) -> Estimate | None:
    """Nano-dollars; None where a price is unknown. Lengths of answers vary about as much as their mean, as times of
    waiting do."""
    cost = expected_cost(candidate, prompt, tokens, cached=_cached(candidate, conversation))
    if cost is None or candidate.output_price is None:
        return None
    return Estimate(float(cost), candidate.output_price * tokens / TOKENS_PER_MTOK, "assumed")


def _cached(candidate: Candidate, conversation: Conversation | None) -> int:
    """Tokens of the prompt that the model of the conversation has read before: any other reads them anew."""
    return conversation.cached_tokens if conversation is not None and conversation.model == candidate.name else 0


def seconds_of(candidate: Candidate, tokens: int, *, is_measured: bool) -> Estimate | None:
    """Until the answer is whole; None where no speed is known. The time until the first content varies by about half of
    itself, the time of writing with the length."""
    seconds = expected_seconds(candidate, tokens)
    if seconds is None or candidate.ttft is None:
        return None
    spread = math.hypot(candidate.ttft / 2, seconds - candidate.ttft)
    return Estimate(seconds, spread, "measured" if is_measured else "stated")
