"""What is known of a model before it was ever called here: a card of stated facts and priors.

Everything on a card is a prior. Figures measured on recorded calls replace it later, and both are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

Kind = Literal["chat", "classifier", "summariser", "speech", "embedding"]
Modality = Literal["text", "image", "audio", "video"]
Capability = Literal["tools", "json", "reasoning"]
StatedBy = Literal["request", "estimate", "measured"]
"""Where a prior comes from: the request this project was written for, our own estimate, or a run of ours."""

Strength = Literal[
    "coding",
    "reasoning",
    "maths",
    "writing-creative",
    "writing-technical",
    "writing-concise",
    "analysis-data",
    "documents",
    "research",
    "vision",
    "audio",
    "video",
    "multilingual",
    "tools",
    "classification",
    "summarising",
]

TASKS: Mapping[str, Strength | None] = {
    "instruction routing": None,
    "rewriting": None,
    "decomposition": "reasoning",
    "tool-use formatting": "tools",
    "structure assessment": None,
    "error and quality scoring": None,
    "rationale generation": "reasoning",
    "parameter extraction": None,
    "classification": "classification",
    "coding": "coding",
    "writing": "writing-creative",
    "analysis": "analysis-data",
    "mathematics": "maths",
    "translation": "multilingual",
    "summary": "summarising",
    "extraction": None,
    "chat": None,
    "completion": None,
    "reasoning": "reasoning",
    "multi-step": "reasoning",
    "codebase": "coding",
    "data": "analysis-data",
    "documents": "documents",
    "research": "research",
    "creative writing": "writing-creative",
    "technical writing": "writing-technical",
    "concise writing": "writing-concise",
    "vision": "vision",
    "audio": "audio",
    "video": "video",
}
"""What a prompt may ask for, and the strength that it takes, where it takes one."""

Grade = Annotated[int, Meta(ge=1, le=5)]
Mark = Annotated[int, Meta(ge=0, le=10)]


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """How fast and how good a model is on the whole, 1 (worst) to 5 (best), and what it is best used for."""

    speed: Grade
    quality: Grade
    best_use: str
    latency: tuple[int, int] | None = None
    """The usual range to the first content, in milliseconds: (lowest, highest). None where nobody stated it."""


class Rubric(Struct, frozen=True, forbid_unknown_fields=True):
    """Marks for one task, 0 to 10: 8–10 excellent, 4–7 good, 0–3 poor."""

    performance: Mark
    speed: Mark
    stated_by: StatedBy = "estimate"


class ListPrice(Struct, frozen=True, forbid_unknown_fields=True):
    """A price as it was once stated, in US dollars per million tokens: shown, never billed."""

    input: Decimal
    output: Decimal


class Offer(Struct, frozen=True, array_like=True):
    """A model as one provider sells it: `id` is that provider's own name for it."""

    provider: str
    id: str

    @property
    def endpoint(self) -> str:
        """'openai/gpt-5-mini': what a caller writes to reach just this one."""
        return f"{self.provider}/{self.id}"


class ModelCard(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model, whoever serves it. `id` is our name for it, such as 'gpt-5-mini' or 'local/smollm2-135m'."""

    id: str
    name: str
    vendor: str
    kind: Kind = "chat"
    parameters: float | None = None
    """Billions; None where the vendor does not say."""
    context: int | None = None
    """Tokens of prompt and answer together; None where nobody states it. One provider may allow less than another."""
    max_output: int | None = None
    inputs: frozenset[Modality] = frozenset({"text"})
    capabilities: frozenset[Capability] = frozenset()
    profile: Profile | None = None
    rubrics: dict[str, Rubric] = {}
    """By task; a user may name tasks of his own."""
    strengths: frozenset[Strength] = frozenset()
    legacy: bool = False
    """Superseded or withdrawn: kept so that old names mean something, used only where a chain or a caller names it."""
    stated_by: StatedBy = "estimate"
    """Where the profile comes from."""
    stated_price: ListPrice | None = None
    aliases: tuple[str, ...] = ()
    served: tuple[Offer, ...] = ()

    def rubric(self, task: str) -> Rubric | None:
        """The marks for `task`: as stated, else estimated from the profile and the strengths; None without either."""
        if task in self.rubrics:
            return self.rubrics[task]
        strength = TASKS.get(task)
        if self.profile is None or (self.kind != "chat" and strength not in self.strengths):
            return None
        if strength in _SENSES and strength not in self.strengths:
            return Rubric(performance=0, speed=2 * self.profile.speed)
        bonus = 0 if strength is None else 1 if strength in self.strengths else -1
        performance = min(10, 2 * self.profile.quality + bonus)
        return Rubric(performance=performance, speed=2 * self.profile.speed)


_SENSES: frozenset[Strength | None] = frozenset({"vision", "audio", "video"})
"""A strength that a model has or has not: without it the task cannot be done at all."""
