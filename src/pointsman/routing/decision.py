"""What a policy sees, and what it says. Values only: a policy decides, it does not call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Literal, Protocol

from msgspec import Struct, structs

from ..core import Call, Nanos
from ..stats.drift import Drift
from .complexity import Complexity
from .lengths import Lengths
from .prompt import Prompt

Deployment = Literal["local", "free", "paid"]
Source = Literal["assumed", "stated", "measured", "learned"]


class Estimate(Struct, frozen=True):
    """A number that nobody knows for certain."""

    value: float
    sd: float = 0.0
    """Standard deviation: how far off it may well be."""
    source: Source = "assumed"


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
    cached_price: int | None = None
    """Of input tokens that are read from the provider's cache."""
    quality: float | None = None
    """0 to 1, over all tasks."""
    rubrics: Mapping[str, Rubric] = {}
    """By task type."""
    ttft: float | None = None
    """Seconds to the first content: measured, else stated."""
    output_rate: float | None = None
    """Tokens a second, measured."""
    quota_left: float | None = None
    """The share of its scarcest limit that is left, 0 to 1."""
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
    score_sd: float = 0.0
    """How uncertain the score is, from the uncertainty of its terms."""
    learnable_sd: float = 0.0
    """The part of it that graded calls would lessen."""
    terms: Mapping[str, float] = {}
    """What the score is the sum of."""
    probability: float = 0.0
    """With which this candidate was the first choice."""
    quality: Estimate | None = None
    """0 to 1: what the score used."""
    prior: float | None = None
    """The part of the quality that was not learned from use."""
    cost: Estimate | None = None
    """Nano-dollars; None where a price is unknown."""
    worst: Nanos | None = None
    """The cost where the answer takes all that the caller allows; None where a price is unknown."""
    seconds: Estimate | None = None
    """Until the answer is whole: "assumed" where only the speed of its like is known, None where none is."""

    @property
    def has_known_speed(self) -> bool:
        return self.seconds is not None and self.seconds.source != "assumed"

    @property
    def expected_cost(self) -> Nanos | None:
        return None if self.cost is None else Nanos(round(self.cost.value))

    @property
    def expected_seconds(self) -> float | None:
        return None if self.seconds is None else self.seconds.value


class Together(Struct, frozen=True):
    """Models that are asked for one call at once."""

    way: Literal["race", "consensus"]
    """Who begins first answers; or what most of them say is the answer."""
    models: tuple[str, ...]
    """The strongest first; one that is asked several times stands there as often."""
    first: int
    """How many of them are asked at once. The others follow where these do not agree."""


class Decision(Struct, frozen=True):
    """An ordered plan: the chosen model first, then the fallbacks. `candidates` holds all of them, best first."""

    policy: str
    state_version: int
    plan: tuple[str, ...]
    candidates: tuple[Considered, ...]
    task: str
    complexity: Complexity
    reason: str
    """A sentence or two, for people."""
    explored: bool = False
    """The choice was drawn, and another had the better score: to learn from it."""
    features: bytes = b""
    """Prompt.encode(), for replay."""
    together: Together | None = None
    """What of the plan is asked at once; None where one model after the other is."""
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


class Conversation(Struct, frozen=True):
    """What the call goes on with."""

    model: str
    """Served its last turn."""
    is_pinned: bool = False
    """A tool's result goes back to the model that called the tool."""
    cached_tokens: int = 0
    """Of the prompt: what that model may have in its cache."""


class Forecast(Struct, frozen=True):
    """What a learned router expects of a prompt. Empty where there is none."""

    context: tuple[float, ...] = ()
    """The prompt as a learner sees it, 1 first; () where learning from use is off."""
    vector: bytes = b""
    """The prompt's reading for the ledger: what a router can be fitted on later, without the text."""
    quality: Mapping[str, Estimate] = {}
    """By model: the chance of success. Models that the router was not fitted on are not in it."""
    usual: Mapping[str, float] = {}
    """Of the same models: the mean over all prompts that it was fitted on."""
    cost: Mapping[str, Estimate] = {}
    """By model: nano-dollars."""
    best_single: str = ""
    """The model of `quality` that did best over all prompts."""
    demand: Estimate | None = None
    """How much harder the prompt is than others for models at large: by what the logarithm of their odds is lower."""
    novelty: float = 0.0
    """0 to 1: how unlike it is to all that the router was fitted on."""


Forecaster = Callable[[Prompt], Forecast]


class Prefill(Struct, frozen=True):
    """How long reading the prompt takes one model: sums over streamed answers to prompts whose length is known, of x,
    the tokens read, without those from a cache, and t, the seconds until the first content. Additive."""

    answers: int = 0
    tokens: float = 0.0
    """Σ x"""
    ttft: float = 0.0
    """Σ t"""
    tokens_squared: float = 0.0
    """Σ x²"""
    tokens_by_ttft: float = 0.0
    """Σ x·t"""

    def __add__(self, other: Prefill) -> Prefill:
        return Prefill(
            answers=self.answers + other.answers,
            tokens=self.tokens + other.tokens,
            ttft=self.ttft + other.ttft,
            tokens_squared=self.tokens_squared + other.tokens_squared,
            tokens_by_ttft=self.tokens_by_ttft + other.tokens_by_ttft,
        )


class Seen(Struct, frozen=True):
    """Sums over the calls that one model has served. Additive: two Seens of different calls may be summed."""

    calls: int = 0
    failed: float = 0
    """One whose answer was of no use counts as far as that is to be believed."""
    ttft: float = 0.0
    seconds: float = 0.0
    timed: int = 0
    """Calls that ended well: `ttft`, `seconds` and `output_tokens` are sums over these. One that came whole adds all of
    its time as time of writing."""
    output_tokens: int = 0
    prefill: Prefill = Prefill()
    lengths: Lengths = Lengths()

    def __add__(self, other: Seen) -> Seen:
        return Seen(
            calls=self.calls + other.calls,
            failed=self.failed + other.failed,
            ttft=self.ttft + other.ttft,
            seconds=self.seconds + other.seconds,
            timed=self.timed + other.timed,
            output_tokens=self.output_tokens + other.output_tokens,
            prefill=self.prefill + other.prefill,
            lengths=self.lengths + other.lengths,
        )


class Evidence(Struct, frozen=True):
    """What graded calls of one model say of it: the sums of a linear regression. Additive within one epoch.

    With φ the context of a call (`Forecast.context`, d numbers), y its grade less what was expected of it without
    learning, and w the weight of the grade (one over the variance of its noise):
    """

    epoch: int = 0
    """Counted up when the model was found to have changed: what lies before says nothing of it any more."""
    since: int = 0
    """`Grade.number` of the last one that lay before: of what came up to it, nothing is in these sums."""
    grades: int = 0
    gram: tuple[float, ...] = ()
    """Σ w·φφᵀ, row by row: d² numbers."""
    moment: tuple[float, ...] = ()
    """Σ w·φy: d numbers."""

    def __add__(self, other: Evidence) -> Evidence:
        """Of two epochs the later one holds."""
        if self.epoch != other.epoch:
            return self if self.epoch > other.epoch else other
        since = max(self.since, other.since)
        if not (self.grades and other.grades):
            return structs.replace(self if self.grades else other, since=since)
        return Evidence(
            epoch=self.epoch,
            since=since,
            grades=self.grades + other.grades,
            gram=tuple(map(float.__add__, self.gram, other.gram)),
            moment=tuple(map(float.__add__, self.moment, other.moment)),
        )


class Believes(Protocol):
    """What is believed of models after all evidence."""

    def about(self, context: Sequence[float], models: Sequence[str]) -> Sequence[Estimate]:
        """How much better (above 0) or worse each model will do on this prompt than its prior says."""


class RouteState(Struct, frozen=True):
    """What has been learnt from outcomes. Frozen and versioned; `learn` gives a new one, `merge` adds two up."""

    version: int = 0
    seen: Mapping[str, Seen] = {}
    lengths: Lengths = Lengths()
    """Of all models: what those of `seen` add up to."""
    evidence: Mapping[str, Evidence] = {}
    drift: Mapping[str, Drift] = {}
    """By model: whether its grades have begun to fall."""
    beliefs: Believes | None = None
    """Follows from `evidence`; None while no call was graded."""
    spent: Nanos = Nanos(0)
    """By calls whose choice was a learner's."""
    explored: Nanos = Nanos(0)
    """The part of it that exploring cost: above what the best-scored candidates were expected to cost."""


class Outcome(Struct, frozen=True):
    """What came of one attempt, as a policy learns from it."""

    model: str
    ok: bool
    seconds: float
    ttft: float | None = None
    """None for an answer that came whole."""
    output_tokens: int = 0
    input_tokens: int | None = None
    """That were read, without those from a cache."""
    kind: str = ""
    """`kind_of` its prompt."""
    ended: bool = True
    """The answer came to its own end, so that its length tells of others."""
    spent: Nanos = Nanos(0)
    explored: Nanos = Nanos(0)


class Retracted(Struct, frozen=True):
    """A grade of the same answer that another one takes the place of."""

    number: int
    score: float
    reliability: float


class Grade(Struct, frozen=True):
    """How good an answer was, said by its reader, a judge, or the reply itself."""

    model: str
    context: tuple[float, ...]
    score: float
    """0 to 1."""
    prior: float
    """The quality that was expected of the model without learning."""
    reliability: float = 1.0
    """0 to 1: the giver is right with probability (1 + reliability)/2."""
    number: int = 0
    """In the order in which grades came."""
    instead: Retracted | None = None
    """Its giver changed his mind: what he said before was learned, and is to be taken back."""


NO_FORECAST = Forecast()


class Policy(Protocol):
    """Pure: the same arguments give the same Decision."""

    def __call__(
        self,
        call: Call,
        prompt: Prompt,
        candidates: Sequence[Candidate],
        state: RouteState,
        rng: Random,
        *,
        forecast: Forecast = NO_FORECAST,
        conversation: Conversation | None = None,
    ) -> Decision: ...
