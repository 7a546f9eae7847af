"""Which models are asked for one call at once, where a rule says that several are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import structs

from ..core import Nanos
from .bounds import Several
from .choosing import Selection
from .decision import Considered, Together


def together(rule: Several, selection: Selection, max_cost: Nanos | None) -> tuple[Together | None, str]:
    """What is asked at once (None: the selection's models, one after the other), and a sentence that says so.

    However many are asked, together they keep `max_cost`.
    """
    serving = [one for one in selection.considered if not one.rejected]
    make = _race if rule.way == "race" else _consensus
    return make(rule, serving, max_cost)


def led_by(selection: Selection, together: Together) -> Selection:
    """The selection with what is asked at once before everything else: the first of it is the one that was chosen."""
    members = tuple(dict.fromkeys(together.models))
    considered = tuple(structs.replace(one, probability=float(one.model == members[0])) for one in selection.considered)
    others = (name for name in selection.plan if name not in members)
    return Selection((*members, *others), considered)


def _race(rule: Several, serving: Sequence[Considered], max_cost: Nanos | None) -> tuple[Together | None, str]:
    fastest = min(serving, key=_seconds)
    of_it = f"of {fastest.model}, the fastest as far as it is known,"
    if fastest.deployment == "local":
        return None, f"No race is run: {rule.count} calls {of_it} would share this machine's processor."
    if fastest.deployment == "free":
        return None, f"No race is run: {rule.count} calls {of_it} would use up its free limit."
    runners = _affordable([fastest] * rule.count, max_cost)
    if len(runners) < 2:
        return None, f"No race is run: the budget has no room for two calls {of_it[:-1]}."
    return Together("race", runners, len(runners)), f"{len(runners)} calls {of_it} race: who begins first answers."


def _seconds(one: Considered) -> float:
    return math.inf if one.seconds is None else one.seconds.value


def _consensus(rule: Several, serving: Sequence[Considered], max_cost: Nanos | None) -> tuple[Together | None, str]:
    strongest = sorted(serving, key=_strength, reverse=True)
    wanted = [one for one in strongest if one.model in rule.models]
    wanted += [one for one in strongest if one.model not in rule.models]
    if len(wanted) < 2:
        return None, f"It is asked alone: a consensus needs {rule.count} models, and no other one may serve."
    models = _affordable(wanted[: max(rule.count, rule.most)], max_cost)
    if len(models) < 2:
        return None, "It is asked alone: the budget has no room for two models."
    first = min(rule.count, len(models))
    asked = f"{_listed(models[:first])} are asked at once, and what {first // 2 + 1} of them say is the answer"
    after = f"; where they differ {_listed(models[first:])} is asked, too" if models[first:] else ""
    return Together("consensus", models, first), f"{asked}{after}; else {models[0]} answers."


def _strength(one: Considered) -> tuple[float, float, float]:
    """Of those that are held equal the dearer, then the slower: what takes more is seldom worse."""
    quality = one.quality.value if one.quality else 0.0
    return quality, one.worst or 0, one.seconds.value if one.seconds else 0.0


def _affordable(models: Sequence[Considered], max_cost: Nanos | None) -> tuple[str, ...]:
    """As many of them as may be asked within the budget, in their order."""
    if max_cost is None:
        return tuple(one.model for one in models)
    taken: list[str] = []
    left = int(max_cost)
    for one in models:
        if one.worst is not None and one.worst <= left:
            taken.append(one.model)
            left -= one.worst
    return tuple(taken)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
