"""What an attempt may cost at most, reserved in the budgets before it is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from msgspec import Struct, structs

from ..catalog import Price
from ..core import Call, Nanos, OverBudget, from_usd, tokens_cost
from ..ledger import BudgetRule, Key
from ..ledger.budgets import Budgets, Hold
from ..routing import estimate_tokens
from .roster import Model
from .specs import BudgetSpec

LONGEST_ANSWER = 16_384
"""Tokens. Under a budget no answer may be without a bound: one that nobody states is this, or less for a model that
writes less."""
SHORTER_ANSWER = 2_048
"""The bound that is tried next, when there is not money enough for the first."""


class Spending:
    """Reserves for attempts. Models that cost nothing are never held up by money."""

    def __init__(self, budgets: Budgets, specs: Sequence[BudgetSpec]) -> None:
        self._budgets = budgets
        self._for_keys = [(spec, rule) for spec, rule in _numbered(specs) if spec.scope == "key" and spec.who]
        self._met: set[str] = set()
        self._rates: dict[str, tuple[Price | None, Dearest | None]] = {}
        for spec, rule in _numbered(specs):
            if not (spec.scope == "key" and spec.who):
                budgets.add(rule)

    def meet(self, key: Key) -> None:
        """The budgets of a key: its own, and those that the configuration has for its name or its id."""
        if key.id in self._met:
            return
        self._met.add(key.id)
        for spec, rule in self._for_keys:
            if spec.who in (key.id, key.name):
                self._budgets.add(structs.replace(rule, id=f"{rule.id} {key.id}", who=key.id))
        if key.budget is not None:
            rule_id = f"own-{key.id}-{key.budget_window}"
            self._budgets.add(BudgetRule(rule_id, "key", key.id, key.budget, key.budget_window))

    def must_reserve(self, model: Model) -> bool:
        """Whether money stands between a call and this model."""
        if not self._budgets.rules or model.deployment != "paid":
            return False
        price = model.quote.charged
        return price is None or not _is_free(price)

    async def reserve(self, call: Call, model: Model) -> tuple[Call, Hold]:
        """The call as it may be sent to a model for which there `must_reserve`, and what is reserved for it.

        Raises OverBudget, which says what its caller may still use (`at_limit`).
        """
        stated, rates = call.max_tokens, self._dearest(model)
        bound = _bound(model) if stated is None else stated
        hold = None if rates is None else self._budgets.at_hand(call.caller, most_cost(call, rates, bound))
        if hold is not None:
            call.tally.held += hold.amount
        else:
            try:
                hold = await self._hold(call, rates, bound)
            except OverBudget:
                if stated is not None or bound <= SHORTER_ANSWER or rates is None:
                    raise
                bound = SHORTER_ANSWER
                hold = await self._hold(call, rates, bound)
        return call if stated is not None else call.capped(bound), hold

    async def _hold(self, call: Call, rates: Dearest | None, answer_tokens: int) -> Hold:
        most, tally = None if rates is None else most_cost(call, rates, answer_tokens), call.tally
        others, own = tally.cost + tally.held, 1 if most is None else most
        tally.held += own  # at once: other attempts of the call may be asking for theirs
        try:
            return await self._budgets.reserve(call.caller, most, spent_by_call=others)
        except BaseException as error:
            tally.held -= own
            if isinstance(error, OverBudget):
                error.at_limit = self._budgets.restriction(call.caller, most or 1) or error.at_limit
            raise

    def settle(self, call: Call, hold: Hold, cost: Nanos | None) -> None:
        """The attempt is over, and recorded. What it may have cost (None) stays with its call."""
        hold.settle(cost)
        if cost is not None:
            call.tally.held -= hold.amount

    def _dearest(self, model: Model) -> Dearest | None:
        price = model.quote.charged
        known = self._rates.get(model.endpoint)
        if known is None or known[0] is not price:
            known = self._rates[model.endpoint] = (price, None if price is None else Dearest.of(price))
        return known[1]


class Dearest(Struct, frozen=True):
    """The most that tokens of a model may cost, in nano-dollars per million."""

    read: int
    read_into_cache: int
    written: int
    call: int
    """Nano-dollars for the call itself."""

    @classmethod
    def of(cls, price: Price) -> Self | None:
        """None where a price is not known."""
        found = (price, *(long_prompt.rates for long_prompt in price.long_prompts))
        read = [rates.input for rates in found if rates.input is not None]
        cached = [rate for rates in found for rate in (rates.cache_write, rates.cache_write_1h) if rate is not None]
        written = [rate for rates in found for rate in (rates.output, rates.reasoning) if rate is not None]
        return cls(max(read), max(read + cached), max(written), price.call) if read and written else None


def _bound(model: Model) -> int:
    """Tokens of the longest answer, where the caller states none."""
    return min(model.candidate.max_output or LONGEST_ANSWER, LONGEST_ANSWER)


def most_cost(call: Call, rates: Dearest, answer_tokens: int) -> Nanos:
    """An upper bound: a token for every two bytes of the prompt, at the dearest rate that its tokens may be billed at.
    Settled to the nano-dollar once the provider has counted."""
    body = call.body
    # Not `in`: Python takes what it looks for for a number first, which costs ten times the search. And JSON knows
    # several ways to write an n.
    if body and (body.find(b'"n"') >= 0 or body.find(b'"\\u006') >= 0):
        answer_tokens *= call.chat.choices
    caches = body and body.find(b'"cache_control"') >= 0
    read = tokens_cost(_prompt_tokens(call), rates.read_into_cache if caches else rates.read)
    return Nanos(rates.call + read + tokens_cost(answer_tokens, rates.written))


MOST_TEXT = 64 * 1024
"""Bytes. A longer body may hold images, whose bytes are no tokens: it is looked into."""


def _prompt_tokens(call: Call) -> int:
    if call.body and len(call.body) <= MOST_TEXT:
        return len(call.body) // 2 + 16
    return 2 * estimate_tokens(call.chat) + 16


def _is_free(price: Price) -> bool:
    return not (price.input or price.output or price.call)


def _numbered(specs: Sequence[BudgetSpec]) -> list[tuple[BudgetSpec, BudgetRule]]:
    """The budgets of a configuration as the ledger keeps them. A budget is known by what it is for, so that its amount
    may be changed without losing what was spent."""
    rules: list[tuple[BudgetSpec, BudgetRule]] = []
    for spec in specs:
        stem = "-".join(part for part in (spec.scope, spec.who.replace(":", "-"), spec.window) if part)
        same = sum(rule.id.rpartition("#")[0] == stem for _, rule in rules)
        rule = BudgetRule(
            id=f"{stem}#{same + 1}",
            scope=spec.scope,
            who=spec.who,
            limit=from_usd(str(spec.usd)),
            window=spec.window,
            at_limit=spec.at_limit,
            alerts=tuple(share for share in spec.alert if share > 0),
            allow_unknown=spec.allow_unknown,
            timezone=spec.timezone,
        )
        rules.append((spec, rule))
    return rules
