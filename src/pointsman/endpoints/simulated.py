"""A model that is not one: it answers from a script, at a set pace, and fails when told to.

It ships with the package because a gateway must be tried without spending anything: in the demo, in tests, in a user's
own CI. Everything it does is deterministic. It says what it is in every answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from msgspec import Struct

from ..core import Answer, Broken, BrokenReply, Call, Clock, Delta, Message, Reply, Served, Usage


class Script(Struct, frozen=True):
    """What a simulated model does. Times in seconds."""

    text: str = ""
    """The answer; '' echoes the last message."""
    ttft: float = 0.0
    pause: float = 0.0
    """Between two words."""
    breaks_after: int | None = None
    """Words after which the stream breaks; None: never."""


class SimulatedEndpoint:
    """An Ask that answers from a script."""

    def __init__(self, served: Served, script: Script, clock: Clock) -> None:
        self.served = served
        self._script = script
        self._clock = clock

    async def __call__(self, call: Call) -> Reply:
        started = self._clock.steady()
        script = self._script
        text = script.text or f"simulated: {_last(call.chat.messages)}"
        words = [word + " " for word in text.split(" ")]
        words[-1] = words[-1][:-1]
        usage = Usage(input=sum(len(m.text) for m in call.chat.messages) // 4 + 1, output=len(words), estimated=True)
        await asyncio.sleep(script.ttft)
        if call.stream:
            return Reply(self.served, clock=self._clock, started=started, source=self._stream(words, usage))
        if script.breaks_after is not None:
            raise BrokenReply(f"{self.served.endpoint} broke off, as its script says.")
        await asyncio.sleep(script.pause * len(words))
        return Reply(self.served, clock=self._clock, started=started, answer=Answer(text=text, usage=usage))

    async def _stream(self, words: Sequence[str], usage: Usage) -> AsyncGenerator[Sequence[Delta | Broken], None]:
        for count, word in enumerate(words):
            if count == self._script.breaks_after:
                yield [Broken(BrokenReply(f"{self.served.endpoint} broke off, as its script says."))]
                return
            yield [Delta(text=word)]
            await asyncio.sleep(self._script.pause)
        yield [Delta(finish="stop", usage=usage)]


def _last(messages: tuple[Message, ...]) -> str:
    return messages[-1].text if messages else ""
