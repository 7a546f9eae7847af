"""One recorded decision, and what another policy would have done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from msgspec import Struct

from ..stats.offpolicy import off_support
from .replay_policies import ReplayPolicy
from .traffic import Recorded


class Redecided(Struct, frozen=True):
    """A decision, and what the policy would have done."""

    recorded: Recorded
    target: tuple[float, ...]
    """The policy's probability of each candidate."""
    drawn: int
    """Place of the candidate that it would have chosen."""

    @property
    def is_changed(self) -> bool:
        return self.drawn != self.recorded.chosen

    @property
    def is_covered(self) -> bool:
        """The log could have done whatever the policy would: only then can it tell."""
        return off_support(self.recorded.probabilities, self.target) == 0

    @property
    def weight(self) -> float:
        """By how much what came of the choice counts for the policy: its probability of it, over the recorded one."""
        return self.target[self.recorded.chosen] / self.recorded.probabilities[self.recorded.chosen]

    @property
    def model(self) -> str:
        """That the policy would have chosen."""
        return self.recorded.candidates[self.drawn].model


def redecide(decision: Recorded, policy: ReplayPolicy, seed: int) -> Redecided:
    target = _target(decision, policy.decide(decision))
    drawn = _coupled(Random(f"{seed}:{decision.id}"), decision.chosen, decision.probabilities, target)
    return Redecided(decision, target, drawn)


def _target(decision: Recorded, chances: Mapping[str, float]) -> tuple[float, ...]:
    if not chances:
        return decision.probabilities
    return tuple(chances.get(candidate.model, 0.0) for candidate in decision.candidates)


def _coupled(rng: Random, chosen: int, logged: Sequence[float], target: Sequence[float]) -> int:
    """A draw from `target` that keeps what was drawn from `logged` as often as any such draw can (a maximal coupling):
    a policy that does the same changes nothing."""
    if rng.random() * logged[chosen] < target[chosen]:
        return chosen
    excess = [max(0.0, would - could) for could, would in zip(logged, target, strict=True)]
    return rng.choices(range(len(target)), excess)[0] if any(excess) else chosen
