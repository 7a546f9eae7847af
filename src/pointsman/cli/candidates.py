"""A decision shown: the candidates that can serve, and those that cannot, with their reasons."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO

from msgspec import Struct, structs

from ..core import Call, Nanos, NoCandidate, show_usd, to_usd
from ..gateway import Gateway
from ..routing import Considered, Decision, Estimate, Prompt
from .terminal import Column, show_line, show_table

NOTHING_SERVES = """No model can serve yet. Any one of these changes that:
  pointsman models pull      two small models that run on this machine (0.6 GB)
  export OPENAI_API_KEY=…    or another provider's key; a .env file will do
  ollama serve               its models are found by themselves"""

GROUPED_FROM = 3
"""So many models with one and the same reason share a line."""

MOST_SUMS = 3
"""Candidates, the best first, of which it is shown what their scores are the sums of."""

_KEY = re.compile(r"has no key: set (\w+)")
_ACCOUNT = re.compile(r"^(The account .+?), of \S+,")
"""All models of an account share its limits."""


def foresee(gateway: Gateway, call: Call) -> Decision:
    """What would be chosen for a call. A pool shares its calls out without weighing them: its members are the
    candidates, without scores, and what is chosen is the pool."""
    # What earlier processes were told, by a 429 say, holds for this one, too.
    gateway.gates.refresh()
    decision = gateway.decide(call)
    pool = gateway.config.pools.get(call.model)
    if pool is None:
        return decision
    members = tuple(structs.replace(one, score=None, probability=0.0) for one in decision.candidates)
    ready = [one.model for one in members if not one.rejected]
    what = f"{call.model} is a pool ({pool.balance})"
    return structs.replace(
        decision,
        policy=f"pool:{pool.balance}",
        plan=(call.model,) if ready else (),
        candidates=members,
        reason=f"{what}: each call goes to one of {', '.join(ready)}."
        if ready
        else f"{what}: none of its {len(members)} members may serve this call.",
    )


class Quality(Struct, frozen=True):
    """The quality that was asked for, held against the candidates' own."""

    asked: float | None
    """0 to 1; None for a call that asked for none."""
    candidates: tuple[Considered, ...]

    def is_met(self, model: str) -> bool | None:
        """None where none was asked for, or nobody knows what `model` has."""
        found = self._of(model)
        return None if found is None or self.asked is None else found >= self.asked

    def shortfall(self, model: str) -> str:
        """A line for people; '' for none."""
        if self.is_met(model) is not False:
            return ""
        better = next((one.model for one in self.candidates if not one.rejected and self.is_met(one.model)), "")
        others = f"{better} has {self._of(better):.2f}" if better else "no candidate reaches it"
        return f"quality {self.asked:.2f} was asked for: {model} has {self._of(model):.2f}, {others}."

    def _of(self, model: str) -> float | None:
        return next((one.quality.value for one in self.candidates if one.model == model and one.quality), None)


def asked_quality(gateway: Gateway, call: Call) -> float | None:
    """The caller's word, else that of the mode which he named."""
    mode = gateway.config.modes.get(call.model)
    return call.needs.min_quality if call.needs.min_quality is not None or mode is None else mode.min_quality


class CandidateJson(Struct, frozen=True):
    model: str
    deployment: str
    rejected: str | None
    """Why it was filtered out; null for one that could be chosen."""
    score: float | None
    probability: float
    quality: float | None
    expected_cost_usd: str | None
    expected_seconds: float | None
    score_sd: float
    quality_sd: float | None
    """Standard deviations: how far off the figure may well be."""
    cost_sd_usd: str | None
    seconds_sd: float | None
    quality_source: str | None
    """assumed, stated, measured or learned."""
    terms: dict[str, float]
    """What the score is the sum of."""


def as_json(considered: Considered) -> CandidateJson:
    return CandidateJson(
        model=considered.model,
        deployment=considered.deployment,
        rejected=considered.rejected or None,
        score=considered.score,
        probability=considered.probability,
        quality=None if considered.quality is None else considered.quality.value,
        expected_cost_usd=None if considered.expected_cost is None else to_usd(considered.expected_cost),
        expected_seconds=considered.expected_seconds,
        score_sd=considered.score_sd,
        quality_sd=None if considered.quality is None else considered.quality.sd,
        cost_sd_usd=None if considered.cost is None else to_usd(Nanos(round(considered.cost.sd))),
        seconds_sd=None if considered.seconds is None else considered.seconds.sd,
        quality_source=None if considered.quality is None else considered.quality.source,
        terms=dict(considered.terms),
    )


def show_candidates(decision: Decision, file: IO[str]) -> None:
    """What the prompt was read as, the table of those that can serve, then why the others cannot."""
    show_line(read_as(decision), file=file)
    serving = [candidate for candidate in decision.candidates if not candidate.rejected]
    if serving:
        # The members of a pool are not scored.
        start = 0 if serving[0].score is not None else 1
        rows = [(one.model, one.deployment, *_figures(one)[start:]) for one in serving]
        show_table((*_NAMES, *_FIGURES[start:]), rows, file=file)
        for line in _sums(serving[:MOST_SUMS]):
            show_line(line, file=file)
    lines = reasons(decision.candidates)
    if lines:
        show_line("Filtered out:", file=file)
    for line in lines:
        show_line(f"  {line}", file=file)


def read_as(decision: Decision) -> str:
    """Task and complexity in words, each with its probability, and the next likely one."""
    prompt = Prompt.decode(decision.features)
    read = f"{_odds(prompt.tasks)} and {_odds(prompt.complexities)}"
    return f"Read as {read}." if prompt.question_chars else f"There is no text to read; taken for {read}."


def likeliest(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Three digits each, the most probable first."""
    ordered = sorted(probabilities, key=lambda name: (-probabilities[name], name))
    return {name: round(probabilities[name], 3) for name in ordered}


def reasons(candidates: Iterable[Considered]) -> list[str]:
    """Why each rejected candidate was rejected."""
    return grouped_reasons({candidate.model: candidate.rejected for candidate in candidates if candidate.rejected})


def grouped_reasons(by_model: Mapping[str, str]) -> list[str]:
    """Model → reason, as lines; those that share a reason share a line."""
    models: dict[str, list[str]] = {}
    for model, reason in by_model.items():
        models.setdefault(_ACCOUNT.sub(r"\1", reason), []).append(model)
    return [line for reason, names in models.items() for line in _lines(reason, names)]


def no_candidate(decision: Decision, gateway: Gateway) -> NoCandidate:
    """The error for a decision with an empty plan: what to do where nothing is set up, else each one's reason, and when
    the first of them may be back."""
    if len(decision.candidates) != 1 and all(model.unavailable for model in gateway.roster.everyone()):
        return NoCandidate(NOTHING_SERVES)
    closed = (gateway.gates.closed(one.model) for one in decision.candidates if one.rejected)
    wait = min((gate.retry_after for gate in closed if gate and gate.retry_after), default=None)
    error = NoCandidate(_why_nobody(decision, wait))
    error.retry_after = wait
    return error


def _why_nobody(decision: Decision, wait: float | None) -> str:
    if len(decision.candidates) == 1:
        (one,) = decision.candidates
        reason = _ACCOUNT.sub(r"\1", one.rejected)
        return f"{one.model} cannot serve this call: {reason if _is_sentence(reason) else f'it {reason}'}"
    soon = [] if wait is None else [f"The first of them may serve again in {max(1, round(wait))} s."]
    return "\n".join([decision.reason, *(f"  {line}" for line in reasons(decision.candidates)), *soon])


def _odds(probabilities: Mapping[str, float]) -> str:
    (first, chance), (second, other), *_ = likeliest(probabilities).items()
    return f"{first} ({chance:.0%}{f'; {second} {other:.0%}' if other >= WORTH_TELLING else ''})"


WORTH_TELLING = 0.05
"""Of the second likeliest task, or complexity."""

_NAMES = (Column("model", wraps=True), Column("kind"))
_FIGURES = tuple(Column(name, "right") for name in ("score", "chosen", "quality", "cost", "seconds"))


def _figures(candidate: Considered) -> tuple[str, ...]:
    return (
        "" if candidate.score is None else f"{candidate.score:.3f}",
        f"{candidate.probability:.0%}" if candidate.probability else "",
        _with_doubt(candidate.quality, "{:.2f}".format),
        _with_doubt(candidate.cost, lambda nanos: show_usd(Nanos(round(nanos)))),
        _with_doubt(candidate.seconds, "{:.2g}".format),
    )


def _with_doubt(estimate: Estimate | None, shown: Callable[[float], str]) -> str:
    """The figure, and how far off it may well be."""
    if estimate is None:
        return "unknown"
    value = shown(estimate.value)
    return f"{value} ±{shown(estimate.sd).removeprefix('$')}" if estimate.sd else value


def _sums(candidates: Sequence[Considered]) -> list[str]:
    """What each score is the sum of, and where its quality comes from."""
    return [f"  {one.model} = {_sum(one)}" for one in candidates if one.score is not None]


def _sum(candidate: Considered) -> str:
    sources = {"quality": f" ({candidate.quality.source})"} if candidate.quality else {}
    return " ".join(
        f"{value:+.3f} {name}{sources.get(name, '')}" for name, value in candidate.terms.items() if round(value, 3)
    )


def _lines(reason: str, names: Sequence[str]) -> list[str]:
    key = _KEY.search(reason)
    if key:
        return [f"{len(names)} {'model needs' if len(names) == 1 else 'models need'} {key[1]}"]
    if len(names) < GROUPED_FROM:
        return [f"{name}: {reason}" if _is_sentence(reason) else f"{name} {reason}" for name in names]
    return [f"{names[0]}, {names[1]} and {len(names) - 2} more: {reason}"]


def _is_sentence(reason: str) -> bool:
    """Not what follows a name: 'has no key' does, 'The account …' and 'mine/a has failed …' do not."""
    first = reason.partition(" ")[0]
    return first[:1].isupper() or "/" in first
