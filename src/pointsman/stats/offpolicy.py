"""What would another policy have brought? Estimates from the log of one that kept its probabilities.

For each decision the log holds p, the probability of every action; the action that was taken and its outcome u; and q̂,
what was expected of every action before the outcome was known. The policy in question, the target, would have taken
each action with probability π. With w = π/p of the action that was taken:

* `ips`: the mean of w·u (inverse propensity scores; Horvitz & Thompson 1952). Free of bias, and the most scattered.
* `snips`: Σw·u / Σw (self-normalised; Swaminathan & Joachims 2015). Slightly biased, less scattered.
* `doubly_robust`: the mean of Σπq̂ + w(u − q̂) (Dudík, Langford & Li 2011). Free of bias whatever q̂ is, and little
  scattered where q̂ is good. The weights are not clipped: that would trade scatter that an interval shows for a bias
  that it does not.
* `difference`: the mean of Σ(π−p)q̂ + (w−1)(u − q̂), the doubly robust estimate of target less logged policy. Where
  both mostly agree it is by far the sharpest, since what they have in common cancels out.

Intervals hold 95 %: mean ± 1.96·√(V/n). For the last two, V is never less than what the design says that it must be,
mean Σ(π²/p)·v, and mean Σ((π−p)²/p)·v for the difference, where v is the variance of an outcome about q̂: the variance
of a sample that happens to miss the rare heavy weights is much too small.

n_eff = n / mean Σ(π²/p), over whole vectors and not over the actions that were taken, is the number of outcomes of the
target's own that the log is worth. Below REFUSED nothing is said; below WEAK it is said to be weak. Where the target
would take what was never tried (p = 0) no outcome can tell, and nothing is said either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import fsum, inf, isfinite, sqrt
from typing import Final, Literal

from msgspec import Struct

Strength = Literal["none", "weak", "fair"]
Method = Literal["mean", "ips", "snips", "dr", "difference"]

REFUSED: Final = 30
WEAK: Final = 200
_NORMAL_95: Final = 1.96
_ROUNDING: Final = 1e-3
"""How far probabilities may be from summing to 1: they are stored in single precision."""


class Decided(Struct, frozen=True):
    """One decision of a log. The vectors have one number for each action, in one order."""

    chosen: int
    """Place of the action that was taken."""
    outcome: float
    logged: tuple[float, ...]
    """p: sums to 1."""
    target: tuple[float, ...]
    """π: sums to 1."""
    expected: tuple[float, ...]
    """q̂: of each action's outcome, from before this one was known."""
    variance: tuple[float, ...]
    """v: of each action's outcome about `expected`. For outcomes from 0 to 1 see `bounded_variance`."""

    def __post_init__(self) -> None:
        if not len(self.logged) == len(self.target) == len(self.expected) == len(self.variance):
            raise ValueError("The vectors of a decision must be of one length.")
        if not 0 <= self.chosen < len(self.logged) or self.logged[self.chosen] <= 0:
            raise ValueError("The action that was taken must have had a probability above 0.")
        if not (are_probabilities(self.logged) and are_probabilities(self.target)):
            raise ValueError("Probabilities must not be negative, and must sum to 1.")
        if not all(map(isfinite, (self.outcome, *self.expected, *self.variance))) or min(self.variance) < 0:
            raise ValueError("Outcomes and expectations must be finite, variances not negative.")

    @property
    def weight(self) -> float:
        """w: how much likelier the target would have taken the action that was taken."""
        return self.target[self.chosen] / self.logged[self.chosen]

    @property
    def surprise(self) -> float:
        """u − q̂ of the action that was taken."""
        return self.outcome - self.expected[self.chosen]


class OffPolicyEstimate(Struct, frozen=True):
    """A mean per decision, with the interval that holds it 95 times of 100 (those of ips and snips somewhat fewer where
    n_eff is small). All three are None where `strength` is 'none': then `why` says why nothing can be said."""

    method: Method
    value: float | None
    low: float | None
    high: float | None
    n: int
    """Decisions that it rests on."""
    n_eff: float
    """Outcomes of the target's own that they are worth."""
    strength: Strength
    why: str
    """'' where the strength is fair."""


Estimator = Callable[[Sequence[Decided]], tuple[float, float]]
"""Gives the estimate and its standard error, of at least two decisions."""


def ips(decisions: Sequence[Decided]) -> OffPolicyEstimate:
    """Mean outcome of the target by inverse propensity scores."""
    return _judged("ips", decisions, _ips)


def snips(decisions: Sequence[Decided]) -> OffPolicyEstimate:
    """The same, the weights normalised by their sum."""
    return _judged("snips", decisions, _snips)


def doubly_robust(decisions: Sequence[Decided]) -> OffPolicyEstimate:
    """Mean outcome of the target by what was expected, put right by what came."""
    return _judged("dr", decisions, _doubly_robust)


def difference(decisions: Sequence[Decided]) -> OffPolicyEstimate:
    """Mean outcome of the target less that of the logged policy."""
    return _judged("difference", decisions, _difference)


def evaluate(decisions: Sequence[Decided]) -> tuple[OffPolicyEstimate, ...]:
    """All four: ips, snips, dr, difference."""
    return ips(decisions), snips(decisions), doubly_robust(decisions), difference(decisions)


def mean_outcome(outcomes: Sequence[float]) -> OffPolicyEstimate:
    """What the logged policy itself came to: a plain mean, judged by the same measure."""
    return _graded("mean", float(len(outcomes)), len(outcomes), lambda: _mean_and_error(outcomes))


def effective_size(decisions: Sequence[Decided]) -> float:
    """n_eff. 0 for an empty log, and for a target off the log's support."""
    if not decisions:
        return 0.0
    spread = fsum(_inflation(decision) for decision in decisions)
    return round(len(decisions) ** 2 / spread, 6)  # 30 that came out as 29.999… are 30


def off_support(logged: Sequence[float], target: Sequence[float]) -> float:
    """The probability with which the target would take what the log never could have."""
    return fsum(would for could, would in zip(logged, target, strict=True) if could <= 0)


def bounded_variance(expected: float) -> float:
    """Of an outcome from 0 to 1 of which `expected` is expected: that of a yes or no, plus what is not known of
    `expected` itself."""
    within = min(max(expected, 0.0), 1.0)
    return within * (1 - within) + 0.02


def are_probabilities(numbers: Sequence[float]) -> bool:
    """Whether they sum to 1 and none is negative."""
    return all(number >= 0 for number in numbers) and abs(fsum(numbers) - 1) <= _ROUNDING


def _judged(method: Method, decisions: Sequence[Decided], estimate: Estimator) -> OffPolicyEstimate:
    n = len(decisions)
    unseen = sum(off_support(decision.logged, decision.target) > 0 for decision in decisions)
    if unseen:
        why = f"in {unseen:,} of {n:,} decisions the policy would take what the log never tried"
        return OffPolicyEstimate(method, None, None, None, n, 0.0, "none", why)
    return _graded(method, effective_size(decisions), n, lambda: estimate(decisions))


def _graded(method: Method, n_eff: float, n: int, estimate: Callable[[], tuple[float, float]]) -> OffPolicyEstimate:
    """The estimate, unless the log is worth too few outcomes to say anything."""
    worth = f"worth {n_eff:,.0f} outcomes of the policy's own"
    if n_eff < REFUSED:
        why = "there is no outcome to judge by" if not n else f"{worth}, and {REFUSED} are the least that tell anything"
        return OffPolicyEstimate(method, None, None, None, n, n_eff, "none", why)
    value, error = estimate()
    half = _NORMAL_95 * error
    strength: Strength = "weak" if n_eff < WEAK else "fair"
    why = f"{worth}; from {WEAK} on it is fair" if strength == "weak" else ""
    return OffPolicyEstimate(method, value, value - half, value + half, n, n_eff, strength, why)


def _inflation(decision: Decided) -> float:
    """Σπ²/p: by how much a weighted outcome scatters more than a plain one; infinite off the support."""
    return fsum(
        would * would / could if could > 0 else inf
        for could, would in zip(decision.logged, decision.target, strict=True)
        if would > 0
    )


def _ips(decisions: Sequence[Decided]) -> tuple[float, float]:
    return _mean_and_error([decision.weight * decision.outcome for decision in decisions])


def _snips(decisions: Sequence[Decided]) -> tuple[float, float]:
    """The error of a ratio, by the delta method."""
    weights = [decision.weight for decision in decisions]
    total = fsum(weights)
    if not total:  # every action that was taken is one that the target never takes
        return 0.0, inf
    value = fsum(w * decision.outcome for w, decision in zip(weights, decisions, strict=True)) / total
    squares = fsum((w * (decision.outcome - value)) ** 2 for w, decision in zip(weights, decisions, strict=True))
    return value, sqrt(squares) / total


def _doubly_robust(decisions: Sequence[Decided]) -> tuple[float, float]:
    terms, design = [], []
    for decision in decisions:
        pairs = list(zip(decision.logged, decision.target, decision.expected, decision.variance, strict=True))
        terms.append(fsum(pi * q for _, pi, q, _ in pairs) + decision.weight * decision.surprise)
        design.append(fsum(pi * pi / p * v for p, pi, _, v in pairs if p > 0))
    return _mean_and_error(terms, fsum(design) / len(design))


def _difference(decisions: Sequence[Decided]) -> tuple[float, float]:
    terms, design = [], []
    for decision in decisions:
        pairs = list(zip(decision.logged, decision.target, decision.expected, decision.variance, strict=True))
        terms.append(fsum((pi - p) * q for p, pi, q, _ in pairs) + (decision.weight - 1) * decision.surprise)
        design.append(fsum((pi - p) ** 2 / p * v for p, pi, _, v in pairs if p > 0))
    return _mean_and_error(terms, fsum(design) / len(design))


def _mean_and_error(terms: Sequence[float], least_variance: float = 0.0) -> tuple[float, float]:
    """The mean and its standard error, from a variance that is at least that of the design."""
    n = len(terms)
    mean = fsum(terms) / n
    variance = fsum((term - mean) ** 2 for term in terms) / (n - 1)
    return mean, sqrt(max(variance, least_variance) / n)
