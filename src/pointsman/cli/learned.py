"""The learned router in words: whether one is in use, and which of its models have a name here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches

from msgspec import Struct

from ..core import ConfigError
from ..gateway import Gateway, Model
from ..gateway.weights import can_go_back, learned_path, read_learned
from .check import Check
from .terminal import count

MOST_NAMED = 5


class Recognized(Struct, frozen=True):
    """Of the models of a router those that can be named here, and those that cannot. A router says something of models
    by the names with which it was fitted, and of no others."""

    here: tuple[str, ...]
    unknown: tuple[str, ...]


def recognized(gateway: Gateway, models: Sequence[str]) -> Recognized:
    found = {name: gateway.roster.find(name) for name in models}
    here = tuple(name for name, model in found.items() if model is not None and model.name == name)
    return Recognized(here, tuple(name for name in models if name not in here))


def of_what_use(gateway: Gateway, models: Sequence[str]) -> str:
    """Which models a router of `models` knows that can be named here, and which it does not."""
    found = recognized(gateway, models)
    if not found.unknown:
        return f"All of its {count(len(models), 'model')} can be named here."
    strangers = listed([_with_hint(gateway, name) for name in found.unknown])
    if not found.here:
        return f"None of its models can be named here, so nothing would be chosen by it: {strangers}."
    return f"Of its {count(len(models), 'model')} only {len(found.here)} can be named here, not {strangers}."


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def in_use(gateway: Gateway, models: Sequence[Model]) -> Check:
    """For `doctor`. `models`: all that there are."""
    home, name = gateway.environment.home, "learned router"
    path = learned_path(home)
    if not path.exists():
        found = "none: models are chosen by their profiles, and by what grades say"
        return Check(name, "off", found, "`pointsman train` fits one on graded answers")
    if not gateway.config.learning.enabled:
        return Check(name, "off", f"{path} is not used: `learning.enabled` is false")
    try:
        router = read_learned(home)
    except ConfigError as error:
        back = "`pointsman train --back` takes the one before it. " if can_go_back(home) else ""
        return Check(name, "warning", error.message, f"{back}Until then models are chosen by their profiles.")
    known = router.models if router is not None else ()
    since = f"in use since {datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%d %H:%M} UTC"
    ready = [model.name for model in models if not model.unavailable]
    of_use = [model for model in ready if model in known]
    told = f"{since}, knows {len(of_use)} of the {count(len(ready), 'model')} that can serve"
    told += f": {listed(of_use)}" if of_use else ""
    strange = recognized(gateway, known).unknown
    advice = f"No model here is named {listed(strange)}: what was learned of it is not used." if strange else ""
    return Check(name, "ok" if of_use else "warning", told, advice)


def _with_hint(gateway: Gateway, name: str) -> str:
    """With the name that its model has here, or one that is spelled much like it."""
    model = gateway.roster.find(name)
    if model is not None:
        return f"{name} (here: {model.name})"
    near = get_close_matches(name, [one.name for one in gateway.roster.everyone()], 1, 0.8)
    return f"{name} ({near[0]}?)" if near else name
