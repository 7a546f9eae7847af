"""Why an attempt is made, and what a call has come to so far: what goes with a Call to the ledger."""

from __future__ import annotations

from msgspec import Struct, structs

from .money import Nanos


class Weighed(Struct, frozen=True, array_like=True, gc=False):
    """A candidate as a decision weighed it: with a score and a probability, or rejected with a reason."""

    model: str
    score: float | None = None
    probability: float = 0.0
    rejected: str = ""
    """Why it was filtered out; '' for one that could have been chosen."""
    quality: float | None = None
    """What was expected of it, 0 to 1; so the two below: what another policy would have done is judged by them."""
    cost: float | None = None
    """Nano-dollars."""
    seconds: float | None = None
    prior: float | None = None
    """The part of `quality` that was not learned from use."""


class Trace(Struct, frozen=True):
    """The decision, strategy and run behind an attempt. Everything is '' or empty where it does not apply."""

    task: str = ""
    complexity: str = ""
    strategy: str = ""
    decision_id: str = ""
    policy: str = ""
    state_version: str = ""
    features: bytes = b""
    candidates: tuple[Weighed, ...] = ()
    run_id: str = ""
    stage: str = ""
    conversation: str = ""
    """A hash that is the same for all routed calls of one conversation."""

    def probability_of(self, model: str) -> float | None:
        """With which `model` was the first choice; None without a decision."""
        return next((c.probability for c in self.candidates if c.model == model), None)

    def read_as(self, task: str, complexity: str, features: bytes) -> Trace:
        """The same reason, with what its prompt was found to be."""
        return structs.replace(self, task=task, complexity=complexity, features=features)


NO_TRACE = Trace()


class Tally:
    """What one call has come to over all its attempts. Shared by every copy of the Call."""

    __slots__ = ("attempts", "rounds", "plans", "deadline", "tokens", "uncounted", "cost", "unpriced", "held")

    def __init__(self) -> None:
        self.attempts = 0
        self.rounds = 0
        """How often the whole plan was tried again after a pause."""
        self.plans = 0
        """The plans that are being gone through now, one inside the other."""
        self.deadline: float | None = None
        """Steady seconds at which the call must have ended; None until it sets out."""
        self.tokens = 0
        """Read and written by all attempts, as far as they were counted."""
        self.uncounted = 0
        """Attempts of which nobody knows how many tokens they took."""
        self.cost = Nanos(0)
        """The sum of what is known."""
        self.unpriced = 0
        """Attempts whose cost is not known."""
        self.held = 0
        """Nano-dollars that are reserved for attempts under way, and for those that ended at an unknown cost."""

    def add(self, cost: Nanos | None, tokens: int | None) -> None:
        """An attempt has ended. None: unknown."""
        if cost is None:
            self.unpriced += 1
        else:
            self.cost = Nanos(self.cost + cost)
        if tokens is None:
            self.uncounted += 1
        else:
            self.tokens += tokens

    @property
    def total(self) -> Nanos | None:
        """None while a part of it is unknown."""
        return None if self.unpriced else self.cost
