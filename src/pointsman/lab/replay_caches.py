"""What a policy loses where it changes the model of a conversation: another model's cache, which must be read anew.

Of a decision by itself that cannot be seen: what the log paid for a turn was paid by a model that had read the turns
before. So conversations are followed through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import fsum

from msgspec import Struct

from ..catalog import Price
from ..core import TOKENS_PER_MTOK
from .redecided import Redecided


class Caches(Struct, frozen=True):
    """What is lost by changing models within conversations. Nano-dollars."""

    conversations: int = 0
    """That were followed through: those of more than one turn."""
    switches: int = 0
    """Turns at which the log asked a model again, and the policy asks another one than it did before."""
    rebuilt_tokens: int = 0
    """Of these turns: what was read from a cache that the policy's model would not have had."""
    rebuilt: float = 0.0
    """What it costs to read them anew."""
    unpriced: int = 0
    """Turns with such tokens, for whose model nobody knows what reading anew costs."""
    unknown: int = 0
    """Answers that were read from a cache which no earlier turn in the log filled: taken as kept."""


def price_of_rereading(price: Price | None) -> float | None:
    """Nano-dollars by which a token that is read anew costs more than one from its cache; None where nobody knows.

    Where writing to the cache is dearer than reading, what is read anew is written there again.
    """
    if price is None or price.input is None:
        return None
    anew = max(price.input, price.cache_write or 0)
    cached = price.input if price.cache_read is None else price.cache_read
    return (anew - cached) / TOKENS_PER_MTOK


def caches_lost(redecided: Sequence[Redecided], dearer: Mapping[str, float]) -> Caches:
    """`redecided`: in the order of time. `dearer`: model → nano-dollars by which a token that is read anew costs more
    than one from its cache.

    What is counted is where the policy takes the model that answered (so its cost stands for the policy's, times the
    weight that it has there), but would have had another one at the turn that filled its cache. Then all that was
    cached is taken as lost, though a still earlier turn may have left some of it. Where the policy takes another model
    than the log, what was expected of that one's cost counts no cache already. Nothing is given back where the log
    changed the model and the policy would not have. So savings are rather told too small than too large.
    """
    turns = list(_turns(redecided))
    switched = [turn for turn, before in turns if before is not None and before.model != turn.model]
    lost = [turn for turn in switched if _reads_cache(turn)]
    of_each = Counter(one.recorded.conversation for one in redecided)
    return Caches(
        conversations=sum(count > 1 for conversation, count in of_each.items() if conversation),
        switches=len(switched),
        rebuilt_tokens=sum(turn.recorded.cached_tokens for turn in lost),
        rebuilt=fsum(turn.weight * turn.recorded.cached_tokens * dearer.get(turn.model, 0.0) for turn in lost),
        unpriced=sum(turn.model not in dearer for turn in lost),
        unknown=sum(before is None and _reads_cache(turn) for turn, before in turns),
    )


def _turns(redecided: Sequence[Redecided]) -> Iterator[tuple[Redecided, Redecided | None]]:
    """Each with the latest turn of its conversation at which the log asked the same model: that one filled its
    cache. None where the log knows of none."""
    latest: dict[tuple[str, str], Redecided] = {}
    for turn in redecided:
        where = turn.recorded.conversation, turn.recorded.model
        yield turn, latest.get(where)
        if turn.recorded.conversation:
            latest[where] = turn


def _reads_cache(turn: Redecided) -> bool:
    """As the policy would, with its model's cost as it was recorded."""
    recorded = turn.recorded
    return turn.is_covered and turn.model == recorded.model and recorded.cached_tokens > 0 and recorded.cost is not None
