"""The gates of all endpoints: each made on first use, those of one account with the account's limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import structs

from ..catalog import FreeTier
from ..core import Call, Clock, State
from ..endpoints.accounts import Account, Limits
from ..endpoints.concurrency import Concurrency
from ..endpoints.gate import Closed, Gate
from ..routing import Candidate, estimate_tokens
from .roster import LOCAL, Model, Provider, Roster
from .specs import LimitsSpec

ANSWER_TOKENS = 400
"""What an answer is taken for until it is there."""


class Gates:
    """Finds the gate of a model. Endpoints share one where they are one: the same model at the same provider."""

    def __init__(self, roster: Roster, state: State, clock: Clock) -> None:
        self._roster = roster
        self._state = state
        self._clock = clock
        self._gates: dict[str, Gate] = {}
        self._by_name: dict[str, Gate] = {}

    def of(self, model: Model) -> Gate:
        gate = self._gates.get(model.endpoint)
        if gate is None:
            provider = self._roster.providers.get(model.provider)
            gate = Gate(
                model.endpoint,
                self._account(model, provider),
                clock=self._clock,
                state=self._state,
                concurrency=_concurrency(provider),
            )
            self._gates[model.endpoint] = gate
        self._by_name[model.name] = gate
        return gate

    def know(self, models: Iterable[Model]) -> None:
        """Look at these, too: another process may have used up their limits."""
        for model in models:
            self.of(model)

    def closed(self, name: str, tokens: int = 0) -> Closed | None:
        """Why no call of so many tokens could go to the model of that name now."""
        gate = self._by_name.get(name)
        return None if gate is None else gate.closed(tokens)

    def open_among(self, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The candidates as they can serve at this moment: what has a full limit, or is out of order, says so. Where
        nobody is in order, health is not believed: it is likelier that we are wrong. Of free tiers it is told how much
        of them is left."""
        candidates = [self._with_quota(one) if one.deployment == "free" else one for one in candidates]
        closed = {one.name: shut for one in candidates if (shut := self.closed(one.name)) is not None}
        if not closed:
            return candidates
        can_serve = [one.name for one in candidates if not one.unavailable]
        if all(name in closed and closed[name].is_health for name in can_serve):
            return candidates
        return [
            structs.replace(one, unavailable=closed[one.name].reason) if one.name in closed else one
            for one in candidates
        ]

    def _with_quota(self, candidate: Candidate) -> Candidate:
        gate = self._by_name.get(candidate.name)
        left = None if gate is None else gate.quota_left
        return candidate if left is None else structs.replace(candidate, quota_left=left)

    def everyone(self) -> Sequence[Gate]:
        """Of every endpoint that was used since the start."""
        return list(self._gates.values())

    def refresh(self) -> None:
        """Hear of what other processes have found out."""
        self._state.refresh()

    def _account(self, model: Model, provider: Provider | None) -> Account:
        if provider is None or model.provider == LOCAL:
            return Account(model.endpoint, Limits(), self._state, self._clock)
        name = provider.spec.account or provider.name
        stated = provider.spec.limits
        free_tier = provider.row.free_tier if provider.row is not None and model.deployment == "free" else None
        # A free tier and what is paid for are two buckets of one account.
        bucket = f"{name} (free)" if free_tier is not None and stated is None else name
        return Account(bucket, _limits(stated, free_tier), self._state, self._clock, model=model.id)


def tokens_of(call: Call) -> int:
    """About what a call will read and write: quick, since it is only reserved and then corrected."""
    return (len(call.body) >> 2 if call.body else estimate_tokens(call.chat)) + ANSWER_TOKENS


def _limits(stated: LimitsSpec | None, free_tier: FreeTier | None) -> Limits:
    found = stated or free_tier
    if found is None:
        return Limits()
    return Limits(
        requests_per_minute=found.requests_per_minute,
        tokens_per_minute=found.tokens_per_minute,
        requests_per_day=found.requests_per_day,
        tokens_per_day=found.tokens_per_day,
    )


def _concurrency(provider: Provider | None) -> Concurrency:
    most = provider.spec.max_concurrent if provider is not None else None
    return Concurrency() if most is None else Concurrency(start=most, most=most)
