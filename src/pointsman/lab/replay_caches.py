"""What a policy loses where it changes the model of a conversation: another model's cache, which must be read anew.

Of a decision by itself that cannot be seen: what the log paid for a turn was paid by a model that had read the turns
before. So conversations are followed through, as far as their callers name them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum

from msgspec import Struct

from .redecided import Redecided


class Caches(Struct, frozen=True):
    """What is lost by changing models within conversations. Nano-dollars."""

    conversations: int = 0
    """That were followed through: those of more than one turn, whose caller names them."""
    switches: int = 0
    """Turns at which the policy changes the model, and the log did not."""
    rebuilt_tokens: int = 0
    """Of these turns: what was read from a cache that the policy's model would not have had."""
    rebuilt: float = 0.0
    """What it costs to read them anew."""
    unpriced: int = 0
    """Turns with such tokens, for whose model nobody knows what reading anew costs."""
    unknown: int = 0
    """Answers that were read from a cache in a conversation that nobody names: taken as kept."""


def caches_lost(redecided: Sequence[Redecided], dearer: Mapping[str, float]) -> Caches:
    """`redecided`: in the order of time. `dearer`: model → nano-dollars by which a token that is read anew costs more
    than one from its cache.

    What is counted is where the policy takes the model that answered (so its cost stands for the policy's, times the
    weight that it has there), but would have had another one at the turn before. Where the policy takes another model
    than the log, what was expected of that one's cost counts no cache already. Nothing is given back where the log
    changed the model and the policy would not have.
    """
    turns: dict[str, list[Redecided]] = {}
    for one in redecided:
        turns.setdefault(one.recorded.conversation, []).append(one)
    alone = turns.pop("", [])
    followed = [those for those in turns.values() if len(those) > 1]
    pairs = [(before, turn) for those in followed for before, turn in zip(those, those[1:], strict=False)]
    switched = [
        turn for before, turn in pairs if before.recorded.model == turn.recorded.model and before.model != turn.model
    ]
    lost = [
        turn
        for turn in switched
        if turn.is_covered
        and turn.model == turn.recorded.model
        and turn.recorded.cached_tokens
        and turn.recorded.cost is not None
    ]
    return Caches(
        conversations=len(followed),
        switches=len(switched),
        rebuilt_tokens=sum(turn.recorded.cached_tokens for turn in lost),
        rebuilt=fsum(turn.weight * turn.recorded.cached_tokens * dearer.get(turn.model, 0.0) for turn in lost),
        unpriced=sum(turn.model not in dearer for turn in lost),
        unknown=sum(bool(one.recorded.cached_tokens) for one in alone),
    )
