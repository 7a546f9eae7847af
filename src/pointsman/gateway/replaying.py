"""The traffic of a gateway's ledger decided anew, on the command line and over HTTP alike. Nothing is called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import TypeVar, get_args

from msgspec import structs

from ..core import InvalidCall, Priority
from ..lab.replay import Replay, replay
from ..lab.replay_caches import price_of_rereading
from ..lab.replay_policies import ReplayPolicy, always, by_priority, cheapest, logged
from ..lab.traffic import Recorded, best_grades, read_traffic
from .gateway import Gateway

T = TypeVar("T")
_PRIORITIES: tuple[Priority, ...] = get_args(Priority)
_WORDS = (*_PRIORITIES, "logged", "cheapest", "always:MODEL")


def replayed(
    gateway: Gateway,
    policy: Callable[[Collection[str]], ReplayPolicy],
    *,
    since: float | None = None,
    until: float | None = None,
    seed: int = 0,
    show: int = 0,
    going_on: Callable[[], None] = lambda: None,
) -> Replay:
    """What `policy` would have done from `since` on, and before `until` (unix seconds). It is given the models that
    recorded decisions weighed.

    It takes about a tenth of a millisecond for each attempt with a few candidates, and more with many. `going_on` is
    called all along: what it raises ends it. Raises LedgerError, InvalidCall for a time that ends before it begins, and
    what `policy` raises.
    """
    if since is not None and until is not None and until <= since:
        raise InvalidCall(
            "`until` must be later than `since`, which is 30d where none is stated: nothing lies between them.",
            param="until",
        )
    ledger = gateway.ledger
    ledger.flush()
    grades = best_grades(_watched(ledger.feedback.since(since), going_on))
    entries = _watched(ledger.queries.entries(since=since, until=until), going_on)
    traffic = read_traffic(entries, grades, ledger.feedback.unreadable())
    asked = policy(traffic.models)

    def decide(decision: Recorded) -> Mapping[str, float]:
        going_on()
        return asked.decide(decision)

    watched = structs.replace(asked, decide=decide)
    return replay(traffic, watched, seed=seed, show=show, dearer=_dearer(gateway, traffic.models))


def named_policy(text: str, models: Collection[str], others: Collection[str] = ()) -> ReplayPolicy:
    """`models`: those that recorded decisions weighed; none where there is no traffic. `others`: what else may be
    written where a policy is asked for. Raises InvalidCall for what is no policy."""
    for priority in _PRIORITIES:
        if text == priority:
            return by_priority(priority)
    if text == "logged":
        return logged()
    if text == "cheapest":
        return cheapest()
    if text.startswith("always:"):
        model = text.removeprefix("always:")
        if not model:
            raise InvalidCall("`always:` is followed by a model's name, as in `always:gpt-5`.", param="policy")
        if models and model not in models:
            raise InvalidCall(not_weighed(model, models), param="policy")
        return always(model)
    words = (*_WORDS, *others)
    near = get_close_matches(text[:100], words, 1)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(words)}."
    raise InvalidCall(f"There is no policy {text[:100]!r}. {hint}", param="policy")


def not_weighed(model: str, models: Collection[str]) -> str:
    near = get_close_matches(model[:100], sorted(models), 1)
    hint = f"Did you mean {near[0]!r}?" if near else f"There were: {', '.join(sorted(models)) or 'none'}."
    return f"In no recorded decision of that time could {model[:100]!r} have been chosen. {hint}"


def _watched(read: Iterator[T], going_on: Callable[[], None]) -> Iterator[T]:
    for one in read:
        going_on()
        yield one


def _dearer(gateway: Gateway, models: Collection[str]) -> dict[str, float]:
    """Model → nano-dollars by which a token that is read anew costs more than one from its cache, at today's prices."""
    found = {name: gateway.roster.find(name) for name in models}
    prices = {name: model.quote.charged for name, model in found.items() if model is not None}
    dearer = {name: price_of_rereading(price) for name, price in prices.items()}
    return {name: nanos for name, nanos in dearer.items() if nanos is not None}
