"""A consensus: several are asked at once, and what most of them say is the answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from msgspec import structs

from ..core import Answer, Ask, Broken, Call, Clock, Delta, Reply
from ..judging import says_the_same
from .at_once import Asked, AtOnce, Ended
from .single import Choice


def consensus(choices: Sequence[Choice], *, first: int, at_once: AtOnce, clock: Clock) -> Ask:
    """An Ask that puts a call to the first `first` of `choices`, which stand in the order of their strength, and reads
    what they say to its end.

    The answer is what more than half of `first` say, in the words of the strongest of them. Once so many agree, those
    that still write are cancelled. As soon as they cannot agree any more, because they differ or have failed, one more
    is asked, as long as there is one. Where they never agree the strongest one answers whose answer is complete.
    `Provenance.agreed` tells how it went. A call's limit on time holds for each of them. Raises the most telling
    failure when nobody answers.
    """

    async def ask(call: Call) -> Reply:
        vote = _Vote(first // 2 + 1)
        others = list(choices)
        started, before = clock.steady(), call.tally.attempts
        async with Asked(call, at_once(), vote.read) as asked:
            for _ in choices[:first]:
                asked.start(others.pop(0))
            while asked.running and vote.most < vote.needed:
                vote.count(await asked.next())
                if others and vote.most + asked.running < vote.needed:
                    asked.start(others.pop(0))
            for outcome in asked.ended_meanwhile():
                vote.count(outcome)
            if not vote.most:
                raise asked.failure()
            reply = asked.take(vote.elected())
        answer = vote.again(reply, started, clock)
        answer.provenance = structs.replace(answer.provenance, agreed=(vote.most, call.tally.attempts - before))
        return answer

    return ask


class _Vote:
    """What was said so far, by those who say the same."""

    def __init__(self, needed: int) -> None:
        self.needed = needed
        self._items: dict[Reply, list[Delta | Broken]] = {}
        self._clusters: list[list[tuple[int, Reply]]] = []
        """Those who say the same, each with its place; the first to say it comes first."""

    async def read(self, choice: Choice, call: Call) -> Reply:
        """A reply that has come to its end. Raises what broke it off."""
        limit = call.needs.max_latency
        if limit is not None:  # not until the first content: nothing is given to the caller before the vote
            call = call.lasting(limit)
        reply = await choice.ask(call)
        items: list[Delta | Broken] = []
        reply.keep()
        async with reply:
            await reply.pour(items.extend)
        if items and isinstance(items[-1], Broken):
            raise items[-1].error
        self._items[reply] = items
        return reply

    def count(self, outcome: Ended) -> None:
        place, reply = outcome.place, outcome.reply
        if reply is None:
            return
        said = _said(reply)
        for cluster in self._clusters:
            first = _said(cluster[0][1])
            if _is_complete(first) and _is_complete(said) and says_the_same(first, said):
                cluster.append((place, reply))
                return
        self._clusters.append([(place, reply)])

    @property
    def most(self) -> int:
        """How many say the same."""
        return max(map(len, self._clusters), default=0)

    def elected(self) -> Reply:
        """Of those who agree, the strongest; of all, where too few do."""
        if self.most >= self.needed:
            largest = max(self._clusters, key=len)
            return min(largest)[1]
        everyone = [member for cluster in self._clusters for member in cluster]
        return min(everyone, key=lambda member: (not _is_complete(_said(member[1])), member[0]))[1]

    def again(self, reply: Reply, started: float, clock: Clock) -> Reply:
        """The same reply for whoever asked: as it came, whole or in its pieces."""
        if reply.answer is not None:
            return reply
        again = Reply(
            reply.served,
            clock=clock,
            started=started,
            dialect=reply.dialect,
            head=self._items[reply],
            source=_nothing_more(),
        )
        again.headers, again.attempt_id = reply.headers, reply.attempt_id
        return again


def _said(reply: Reply) -> Answer:
    ending = reply.ending
    assert ending is not None and ending.answer is not None, "it was told to keep, and came to its end"
    return ending.answer


def _is_complete(answer: Answer) -> bool:
    return answer.finish not in ("length", "pause", "other") and bool(
        answer.text.strip() or answer.tools or answer.refusal
    )


async def _nothing_more() -> AsyncGenerator[Sequence[Delta | Broken], None]:
    return
    yield ()
