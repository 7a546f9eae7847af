"""Several Asks at once: how strategies begin them, hear of them as they end, and let go of those that are not needed.

What runs things at once is handed in (`Group`), as the clock is: a strategy can be tried without an event loop's time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, Self

from msgspec import Struct

from ..core import AttemptError, Call, CallError, NoCandidate, OverBudget, Reply
from .single import Choice, is_final, most_telling


class Group(Protocol):
    """Works that run at once. Whoever leaves it has ended all of them: those that still run are cancelled."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None:
        """Raises what a work raised that nobody heard of."""
        ...

    def start(self, work: Coroutine[Any, Any, None]) -> None: ...

    async def next(self) -> None:
        """Waits until one more has ended. Raises what it raised."""
        ...


AtOnce = Callable[[], Group]


class Outcome(Struct, frozen=True):
    """What came of asking one choice: a reply, or why there is none."""

    place: int
    """Of the choice, in the order in which they were begun."""
    reply: Reply | None = None
    error: AttemptError | CallError | None = None


class Asked:
    """One call put to several choices. Replies that nobody took are closed when it is left."""

    def __init__(self, call: Call, group: Group, begin: Callable[[Choice, Call], Awaitable[Reply]]) -> None:
        """`begin`: how one choice is asked; what it gives is a reply to the call."""
        self._call = call
        self._group = group
        self._begin = begin
        self.begun = 0
        """How many were asked."""
        self._ended: list[Outcome] = []
        self._heard = 0
        self._taken: Reply | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            await self._group.__aexit__(*exc_info)
        finally:
            for one in self._ended:
                if one.reply is not None and one.reply is not self._taken:
                    await one.reply.aclose()

    def start(self, choice: Choice) -> None:
        self._group.start(self._ask(choice, self.begun))
        self.begun += 1

    @property
    def running(self) -> int:
        return self.begun - self._heard

    async def next(self) -> Outcome:
        """The next one that ended. Raises what every other choice would refuse as well."""
        await self._group.next()
        outcome = self._ended[self._heard]
        self._heard += 1
        if isinstance(outcome.error, AttemptError) and is_final(outcome.error):
            raise outcome.error
        return outcome

    def ended_meanwhile(self) -> Sequence[Outcome]:
        """Those that have ended and were not heard of: while another one was."""
        return self._ended[self._heard :]

    def take(self, reply: Reply) -> Reply:
        self._taken = reply
        return reply

    def failure(self) -> AttemptError | CallError:
        """Why nobody answered."""
        errors = [one.error for one in self._ended]
        failed = [error for error in errors if isinstance(error, AttemptError)]
        return most_telling(failed, [error for error in errors if isinstance(error, CallError)])

    async def _ask(self, choice: Choice, place: int) -> None:
        try:
            outcome = Outcome(place, await self._begin(choice, self._call))
        except (AttemptError, NoCandidate, OverBudget) as error:
            outcome = Outcome(place, error=error)
        self._ended.append(outcome)
