"""Which models are asked for one call at once, where a rule says that several are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import structs

from ..core import Nanos
from .bounds import Several
from .choosing import Selection
from .decision import Considered, Together


def together(
    rule: Several, selection: Selection, worst: Mapping[str, Nanos | None], max_cost: Nanos | None
) -> tuple[Together | None, str]:
    """What is asked at once (None: the selection's models, one after the other), and a sentence that says so.

    `worst`: what each model may cost at most. However many are asked, together they keep `max_cost`.
    """
    serving = {one.model: one for one in selection.considered if not one.rejected}
    if rule.way == "race":
        return _race(rule, serving[selection.plan[0]], worst, max_cost)
    return _consensus(rule, list(serving.values()), worst, max_cost)


def led_by(selection: Selection, together: Together) -> Selection:
    """The selection with what is asked at once before everything else: its strongest model is the one that was
    chosen."""
    members = tuple(dict.fromkeys(together.models))
    considered = tuple(structs.replace(one, probability=float(one.model == members[0])) for one in selection.considered)
    others = (name for name in selection.plan if name not in members)
    return Selection((*members, *others), considered)


def _race(
    rule: Several, runner: Considered, worst: Mapping[str, Nanos | None], max_cost: Nanos | None
) -> tuple[Together | None, str]:
    if runner.deployment == "local":
        return None, f"It is asked once: {rule.count} calls at once would share this machine's processor."
    models = _affordable([runner.model] * rule.count, worst, max_cost)
    if len(models) < 2:
        return None, "It is asked once: the budget has no room for two."
    why = f"It is asked {len(models)} times at once, and who begins first answers."
    return Together("race", models, len(models)), why


def _consensus(
    rule: Several, serving: Sequence[Considered], worst: Mapping[str, Nanos | None], max_cost: Nanos | None
) -> tuple[Together | None, str]:
    strongest = sorted(serving, key=lambda one: one.quality.value if one.quality else 0.0, reverse=True)
    wanted = [one.model for one in strongest if one.model in rule.models]
    wanted += [one.model for one in strongest if one.model not in rule.models]
    if len(wanted) < 2:
        return None, f"It is asked alone: a consensus needs {rule.count} models, and no other one may serve."
    models = _affordable(wanted[: max(rule.count, rule.most)], worst, max_cost)
    if len(models) < 2:
        return None, "It is asked alone: the budget has no room for two models."
    first = min(rule.count, len(models))
    asked = f"{_listed(models[:first])} are asked at once, and what {first // 2 + 1} of them say is the answer"
    after = f"; where they differ {_listed(models[first:])} is asked, too" if models[first:] else ""
    return Together("consensus", models, first), f"{asked}{after}; else {models[0]} answers."


def _affordable(models: Sequence[str], worst: Mapping[str, Nanos | None], max_cost: Nanos | None) -> tuple[str, ...]:
    """As many of them as may be asked within the budget, in their order."""
    if max_cost is None:
        return tuple(models)
    taken: list[str] = []
    left = int(max_cost)
    for model in models:
        cost = worst.get(model)
        if cost is not None and cost <= left:
            taken.append(model)
            left -= cost
    return tuple(taken)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
