"""What a decision must be: expectations that a file states, held against what was decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from ..core import Priority, to_usd
from ..routing import Considered, Decision, Deployment
from ..routing.complexity import Complexity

Share = Annotated[float, Meta(ge=0, le=1)]
Amount = Annotated[float, Meta(ge=0, le=1_000_000)]


class Said(Struct, frozen=True):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Expected(Struct, frozen=True):
    """What must hold; None where nothing is stated. Names of models may have `*`, `?` and `[…]` in them."""

    task: str | tuple[str, ...] | None = None
    complexity: Complexity | tuple[Complexity, ...] | None = None
    deployment: Deployment | tuple[Deployment, ...] | None = None
    model: str | tuple[str, ...] | None = None
    """The chosen model is one of these."""
    not_model: str | tuple[str, ...] | None = None
    max_cost: Amount | None = None
    """US dollars that the chosen model is expected to cost."""
    max_seconds: Amount | None = None
    min_quality: Share | None = None
    rejected: dict[str, str] | None = None
    """Model → what the reason must be like: "*" for any."""
    plan: tuple[str, ...] | None = None
    """How the plan begins, in this order; an empty list: nothing may serve the call."""


class Assertion(Struct, frozen=True):
    """One prompt, what its caller needs, and what must come of it."""

    expect: Expected
    prompt: str | None = None
    messages: tuple[Said, ...] | None = None
    """A conversation in the place of a prompt."""
    name: str = ""
    model: str = "auto"
    priority: Priority | None = None
    budget: Amount | None = None
    """US dollars: the most that the call may cost."""
    max_latency: Amount | None = None
    """Seconds."""
    quality: Share | None = None
    local_only: bool = False
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    task: str = ""

    @property
    def title(self) -> str:
        """Its name, else how its prompt begins."""
        asked = self.prompt if self.prompt is not None else self.messages[-1].content if self.messages else ""
        words = " ".join((self.name or asked).split())
        return words if len(words) <= 80 else f"{words[:79]}…"

    @property
    def models_named(self) -> tuple[tuple[str, str], ...]:
        """(key of `expect`, name or pattern) of every model that is named there."""
        expect = self.expect
        return (
            *(("model", name) for name in _several(expect.model)),
            *(("not_model", name) for name in _several(expect.not_model)),
            *(("rejected", name) for name in expect.rejected or ()),
            *(("plan", name) for name in expect.plan or ()),
        )


class Unmet(Struct, frozen=True):
    """One expectation that does not hold."""

    what: str
    expected: str
    decided: str

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, decided {self.decided}"


def held_against(expect: Expected, decision: Decision) -> tuple[Unmet, ...]:
    """The expectations that a decision does not meet; () when all hold.

    A choice that was drawn to learn from it is passed over: what counts is the model with the best score.
    """
    decision = without_exploring(decision)
    chosen = decision.plan[0] if decision.plan else ""
    one = next((candidate for candidate in decision.candidates if candidate.model == chosen), None)
    return (
        *_words("task", expect.task, decision.task),
        *_words("complexity", expect.complexity, decision.complexity),
        *_words("deployment", expect.deployment, one.deployment if one else "none"),
        *_model(expect, chosen),
        *_figures(expect, one),
        *_rejected(expect, decision),
        *_plan(expect, decision),
    )


def without_exploring(decision: Decision) -> Decision:
    """The same decision with the plan in the order of scores."""
    if not decision.explored:
        return decision
    return structs.replace(decision, plan=tuple(one.model for one in decision.candidates if not one.rejected))


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


def _several(stated: str | Sequence[str] | None) -> tuple[str, ...]:
    if stated is None:
        return ()
    return (stated,) if isinstance(stated, str) else tuple(stated)


def _words(what: str, stated: str | Sequence[str] | None, decided: str) -> tuple[Unmet, ...]:
    if stated is None or decided in _several(stated):
        return ()
    return (Unmet(what, " or ".join(_several(stated)), decided),)


def _model(expect: Expected, chosen: str) -> tuple[Unmet, ...]:
    unmet = []
    if expect.model is not None and not matches(chosen, _several(expect.model)):
        unmet.append(Unmet("model", " or ".join(_several(expect.model)), chosen or "none"))
    if expect.not_model is not None and matches(chosen, _several(expect.not_model)):
        unmet.append(Unmet("not_model", f"none of {', '.join(_several(expect.not_model))}", chosen))
    return tuple(unmet)


def _figures(expect: Expected, one: Considered | None) -> tuple[Unmet, ...]:
    """An unknown figure meets no limit."""
    cost = None if one is None or one.expected_cost is None else float(to_usd(one.expected_cost))
    seconds = one.expected_seconds if one is not None and one.has_known_speed else None
    quality = None if one is None or one.quality is None else one.quality.value
    unmet = []
    if expect.max_cost is not None and (cost is None or cost > expect.max_cost):
        unmet.append(Unmet("max_cost", f"at most ${expect.max_cost:g}", _shown(cost, "${:.3g}")))
    if expect.max_seconds is not None and (seconds is None or seconds > expect.max_seconds):
        unmet.append(Unmet("max_seconds", f"at most {expect.max_seconds:g} s", _shown(seconds, "{:.3g} s")))
    if expect.min_quality is not None and (quality is None or quality < expect.min_quality):
        unmet.append(Unmet("min_quality", f"at least {expect.min_quality:g}", _shown(quality, "{:.3g}")))
    return tuple(unmet)


def _shown(figure: float | None, form: str) -> str:
    return "unknown" if figure is None else form.format(figure)


def _rejected(expect: Expected, decision: Decision) -> tuple[Unmet, ...]:
    """Every candidate of that name must have been rejected with such a reason, and there must be one."""
    unmet = []
    for pattern, reason in (expect.rejected or {}).items():
        named = [one for one in decision.candidates if matches(one.model, (pattern,))]
        wanted = f"{pattern} rejected ({reason})"
        if not named:
            unmet.append(Unmet("rejected", wanted, "no such candidate"))
        unmet += [
            Unmet("rejected", wanted, f"{one.model}: {one.rejected or 'may serve'}")
            for one in named
            if not one.rejected or not matches(one.rejected, (reason,))
        ]
    return tuple(unmet)


def _plan(expect: Expected, decision: Decision) -> tuple[Unmet, ...]:
    if expect.plan is None:
        return ()
    begins = decision.plan[: len(expect.plan)]
    if expect.plan:
        holds = len(begins) == len(expect.plan) and all(
            matches(name, (pattern,)) for name, pattern in zip(begins, expect.plan, strict=True)
        )
    else:
        holds = not decision.plan
    if holds:
        return ()
    return (Unmet("plan", " → ".join(expect.plan) or "nothing", " → ".join(decision.plan[:5]) or "nothing"),)
