"""Several Asks at once: how strategies begin them, hear of them as they end, and let go of those that are not needed.

What runs things at once is handed in (`Group`), as the clock is: a strategy can be tried without an event loop's time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
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


class Ended(Struct, frozen=True):
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
        self._begun = 0
        self._ended: list[Ended] = []
        self._heard = 0
        self._taken: Reply | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        async with AsyncExitStack() as on_failure:
            if self._taken is not None:
                on_failure.push_async_callback(self._taken.aclose)
            try:
                await self._group.__aexit__(*exc_info)
            finally:
                await self._close_others()
            if exc_info[0] is None:
                on_failure.pop_all()

    async def _close_others(self) -> None:
        """All of them, though one that cannot be recorded says so when it is closed."""
        async with AsyncExitStack() as closing:
            for one in self._ended:
                if one.reply is not None and one.reply is not self._taken:
                    closing.push_async_callback(one.reply.aclose)

    def start(self, choice: Choice) -> None:
        self._group.start(self._ask(choice, self._begun))
        self._begun += 1

    @property
    def running(self) -> int:
        return self._begun - self._heard

    async def next(self) -> Ended:
        """The next one that ended."""
        await self._group.next()
        outcome = self._ended[self._heard]
        self._heard += 1
        return outcome

    def ended_meanwhile(self) -> Sequence[Ended]:
        """Those that have ended and were not heard of: while another one was."""
        return self._ended[self._heard :]

    def take(self, reply: Reply) -> Reply:
        self._taken = reply
        return reply

    def failure(self) -> AttemptError | CallError:
        """Why nobody answered: first what every other choice would refuse as well."""
        errors = [one.error for one in self._ended]
        failed = [error for error in errors if isinstance(error, AttemptError)]
        final = next(filter(is_final, failed), None)
        return final or most_telling(failed, [error for error in errors if isinstance(error, CallError)])

    async def _ask(self, choice: Choice, place: int) -> None:
        try:
            outcome = Ended(place, await self._begin(choice, self._call))
        except (AttemptError, NoCandidate, OverBudget) as error:
            outcome = Ended(place, error=error)
        self._ended.append(outcome)
