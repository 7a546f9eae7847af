"""What a policy sees, and what it says. Values only: a policy decides, it does not call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Literal

from msgspec import Struct

from ..core import Call, Nanos
from .prompt import Prompt

Deployment = Literal["local", "free", "paid"]


class Rubric(Struct, frozen=True):
    """0 to 10: 8–10 excellent, 4–7 good, 0–3 poor."""

    performance: float
    speed: float


class Candidate(Struct, frozen=True):
    """What is known of one model at this moment. None means unknown: never zero, never infinite."""

    name: str
    deployment: Deployment
    context: int | None = None
    max_output: int | None = None
    capabilities: frozenset[str] | None = None
    """Of 'tools', 'json', 'image', 'audio', 'document'. None: nobody has said, so nothing is filtered by it."""
    input_price: int | None = None
    """Nano-dollars per million tokens; for a free tier the 0 that is paid."""
    output_price: int | None = None
    quality: float | None = None
    """0 to 1, over all tasks."""
    rubrics: Mapping[str, Rubric] = {}
    """By task type."""
    ttft: float | None = None
    """Seconds to the first content: measured, else stated."""
    output_rate: float | None = None
    """Tokens a second, measured."""
    unavailable: str = ""
    """Why it cannot serve now; '' when it can."""


class Considered(Struct, frozen=True):
    """One candidate as the decision left it."""

    model: str
    deployment: Deployment
    rejected: str = ""
    """Why it was filtered out; '' when it was not."""
    score: float | None = None
    """Higher is better; comparable within one decision only. None when it was rejected."""
    probability: float = 0.0
    """With which this candidate was the first choice."""
    quality: float | None = None
    """The estimate that the score used, 0 to 1."""
    expected_cost: Nanos | None = None
    expected_seconds: float | None = None


class Decision(Struct, frozen=True):
    """An ordered plan: the chosen model first, then the fallbacks. `candidates` holds all of them, best first."""

    policy: str
    state_version: int
    plan: tuple[str, ...]
    candidates: tuple[Considered, ...]
    task: str
    complexity: str
    reason: str
    """One sentence, for people."""
    features: bytes = b""
    """Prompt.encode(), for replay."""
    id: str = ""
    """Given by the route that asked for the decision."""

    @property
    def chosen(self) -> str:
        """Raises IndexError when nothing is left; see `reasons`."""
        return self.plan[0]

    @property
    def probability(self) -> float:
        return next((c.probability for c in self.candidates if self.plan and c.model == self.plan[0]), 0.0)

    @property
    def reasons(self) -> dict[str, str]:
        """Why each rejected candidate was rejected."""
        return {candidate.model: candidate.rejected for candidate in self.candidates if candidate.rejected}


class Seen(Struct, frozen=True):
    """Sums over the calls that one model has served. Additive: two Seens of different calls may be summed."""

    calls: int = 0
    failed: int = 0
    ttft: float = 0.0
    seconds: float = 0.0
    timed: int = 0
    """Calls that ended well: `ttft`, `seconds` and `output_tokens` are sums over these. One that came whole adds all of
    its time as time of writing."""
    output_tokens: int = 0


class RouteState(Struct, frozen=True):
    """What has been learnt from outcomes. Frozen and versioned; `learn` gives a new one."""

    version: int = 0
    seen: Mapping[str, Seen] = {}


class Outcome(Struct, frozen=True):
    """What came of one attempt, as a policy learns from it."""

    model: str
    ok: bool
    seconds: float
    ttft: float | None = None
    output_tokens: int = 0


Policy = Callable[[Call, Prompt, Sequence[Candidate], RouteState, Random], Decision]
"""decide(call, prompt, candidates, state, rng). Pure: the same arguments give the same Decision."""


def learn(state: RouteState, outcomes: Sequence[Outcome]) -> RouteState:
    """The state after these outcomes, one version on."""
    by_model: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_model.setdefault(outcome.model, []).append(outcome)
    seen = dict(state.seen)
    for model, all_of_it in by_model.items():
        before = seen.get(model, Seen())
        good = [outcome for outcome in all_of_it if outcome.ok]
        seen[model] = Seen(
            calls=before.calls + len(all_of_it),
            failed=before.failed + len(all_of_it) - len(good),
            ttft=before.ttft + sum([outcome.ttft or 0.0 for outcome in good]),
            seconds=before.seconds + sum([outcome.seconds for outcome in good]),
            timed=before.timed + len(good),
            output_tokens=before.output_tokens + sum([outcome.output_tokens for outcome in good]),
        )
    return RouteState(version=state.version + 1, seen=seen)
