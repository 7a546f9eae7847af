"""A decision shown: the candidates that can serve, and those that cannot, with their reasons."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO

from ..core import Nanos, NoCandidate, show_usd
from ..core.reasons import grouped
from ..gateway import Gateway
from ..gateway.foreseen import likeliest
from ..routing import Considered, Decision, Estimate, Prompt
from .terminal import Column, show_line, show_table

NOTHING_SERVES = """No model can serve yet. Any one of these changes that:
  pointsman models pull      two small models that run on this machine (0.6 GB)
  export OPENAI_API_KEY=…    or another provider's key; a .env file will do
  ollama serve               its models are found by themselves"""

MOST_SUMS = 3
"""Candidates, the best first, of which it is shown what their scores are the sums of."""

_KEY = re.compile(r"has no key: set (\w+)")


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


def reasons(candidates: Iterable[Considered]) -> list[str]:
    """Why each rejected candidate was rejected."""
    return grouped_reasons({candidate.model: candidate.rejected for candidate in candidates if candidate.rejected})


def grouped_reasons(by_model: Mapping[str, str]) -> list[str]:
    """Model → reason, as lines; those that lack one key, or whose reasons differ in figures alone, share a line."""
    lacking = Counter(key[1] for reason in by_model.values() if (key := _KEY.fullmatch(reason)))
    others = {model: reason for model, reason in by_model.items() if not _KEY.fullmatch(reason)}
    return [
        *(_line(who, why) for who, why in grouped(others).items()),
        *(
            f"{number} {'model needs' if number == 1 else 'models need'} {key}"
            for key, number in sorted(lacking.items())
        ),
    ]


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
        reason = grouped({one.model: one.rejected})[one.model]
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
    if candidate.seconds and not candidate.has_known_speed:
        sources["latency"] = " (assumed)"
    return " ".join(
        f"{value:+.3f} {name}{sources.get(name, '')}" for name, value in candidate.terms.items() if round(value, 3)
    )


def _line(who: str, why: str) -> str:
    return f"{who}: {why}" if _is_sentence(why) or " more" in who else f"{who} {why}"


def _is_sentence(reason: str) -> bool:
    """Not what follows a name: 'has no key' does, 'The account …' and 'mine/a has failed …' do not."""
    first = reason.partition(" ")[0]
    return first[:1].isupper() or "/" in first
