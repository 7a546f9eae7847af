"""Which of the scored candidates is taken: the best, the one that a conversation has, or one that is worth a try."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from random import Random

from msgspec import Struct, structs

from .decision import Considered, Conversation


class Exploration(Struct, frozen=True):
    """How a learner tries what may be better. It begins with the first graded call: before that nothing could be
    learned from it."""

    floor: float = 0.01
    """The probability that is shared out among all that may be tried."""
    spread: float = 0.25
    """The share of a score's uncertainty that is believed when a choice is drawn: 1 is Thompson sampling as it is
    written, less explores less."""
    margin: float = 0.05
    """A model may be tried when its score may reach, within two standard deviations, the best one's less this."""
    most_cost: float = 0.1
    """The share of what is spent that exploring may cost; past it nothing dearer is tried."""
    dearer: bool = True
    """Whether what is dearer than the best may be tried."""


EXPLORATION = Exploration()


class Selection(Struct, frozen=True):
    plan: tuple[str, ...]
    considered: tuple[Considered, ...]
    """Best score first, each with its probability."""
    explored: bool = False
    why: str = ""
    """What to add to the reason: a sentence with a space before it, or ''."""


def choose(
    considered: Sequence[Considered],
    *,
    floor: float,
    is_asked_for: bool,
    exploration: Exploration | None,
    conversation: Conversation | None,
    switch: float,
    rng: Random,
) -> Selection:
    """`considered`: best score first, the rejected ones last. `floor`: the quality that is good enough, or that
    was asked for. Without `exploration` nothing is tried out.

    A conversation stays with its model until another one's score is ahead by `switch`; while a tool's result is
    awaited it stays in any case. In neither case is anything tried out.
    """
    serving = [one for one in considered if not one.rejected]
    if not serving:
        return Selection((), tuple(considered))
    stays = _staying(serving, conversation, switch)
    if stays is not None:
        return _taken(considered, serving, stays, {stays.model: 1.0}, _why_it_stays(stays, serving[0], conversation))
    if exploration is None:
        return _taken(considered, serving, serving[0], {serving[0].model: 1.0})
    # Who asked for what even the best does not reach wants that one, and no trials; else none worse than it is tried.
    needed = floor if is_asked_for else min(floor, _quality(serving[0]))
    shares = _shares(_worth_trying(serving, needed, exploration), exploration)
    drawn = _draw(shares, rng)
    taken = next(one for one in serving if one.model == drawn)
    if taken is serving[0]:
        return _taken(considered, serving, taken, shares)
    why = f" {taken.model} was drawn all the same (with {shares[drawn]:.0%}), to learn from it."
    return structs.replace(_taken(considered, serving, taken, shares, why), explored=True)


def _staying(serving: Sequence[Considered], conversation: Conversation | None, switch: float) -> Considered | None:
    if conversation is None:
        return None
    incumbent = next((one for one in serving if one.model == conversation.model), None)
    if incumbent is None or conversation.is_pinned:
        return incumbent
    gain = (serving[0].score or 0.0) - (incumbent.score or 0.0)
    return incumbent if gain <= switch else None


def _why_it_stays(stays: Considered, best: Considered, conversation: Conversation | None) -> str:
    if conversation is not None and conversation.is_pinned:
        return f" {stays.model} awaits the result of a tool that it called."
    if stays is best:
        return ""
    return f" {stays.model} stays: {best.model} is ahead by less than changing the model of a conversation costs."


def _worth_trying(serving: Sequence[Considered], needed: float, exploration: Exploration) -> list[Considered]:
    """The best-scored one, and those that may be as good and have the quality that is needed."""
    best = serving[0]
    return [
        one
        for one in serving
        if one is best
        or (
            (one.score or 0.0) + 2 * one.learnable_sd >= (best.score or 0.0) - exploration.margin
            and _quality(one) >= needed
            and (exploration.dearer or not _is_dearer(one, best))
        )
    ]


def _shares(candidates: Sequence[Considered], exploration: Exploration) -> dict[str, float]:
    """Model → the probability with which it is taken."""
    if len(candidates) == 1:
        return {candidates[0].model: 1.0}
    chances = _chances_to_be_best()(
        [one.score or 0.0 for one in candidates], [exploration.spread * one.learnable_sd for one in candidates]
    )
    even = exploration.floor / len(candidates)
    return {one.model: (1 - exploration.floor) * chance + even for one, chance in zip(candidates, chances, strict=True)}


@cache
def _chances_to_be_best() -> Callable[[Sequence[float], Sequence[float]], list[float]]:
    """Found late: it needs numpy, which a process that explores nothing never loads."""
    from .bandit import chances_to_be_best

    return chances_to_be_best


def _draw(shares: dict[str, float], rng: Random) -> str:
    point = rng.random()
    for model, share in shares.items():
        point -= share
        if point < 0:
            return model
    return next(iter(shares))  # what rounding leaves over


def _taken(
    considered: Sequence[Considered],
    serving: Sequence[Considered],
    taken: Considered,
    shares: dict[str, float],
    why: str = "",
) -> Selection:
    plan = (taken.model, *(one.model for one in serving if one is not taken))
    weighed = tuple(
        structs.replace(one, probability=shares[one.model]) if one.model in shares else one for one in considered
    )
    return Selection(plan, weighed, why=why)


def _quality(one: Considered) -> float:
    return one.quality.value if one.quality is not None else 0.0


def _is_dearer(one: Considered, other: Considered) -> bool:
    """What is unknown may be dearer."""
    return one.cost is None or (other.cost is not None and one.cost.value > other.cost.value)
