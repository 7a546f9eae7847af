"""A race: several are asked at once, and the first that begins to answer does so alone."""

from __future__ import annotations

from collections.abc import Sequence

from ..core import Ask, AttemptError, Call, Reply
from .at_once import Asked, AtOnce
from .single import Choice, is_final


def race(choices: Sequence[Choice], at_once: AtOnce) -> Ask:
    """An Ask that puts a call to all of `choices`; a choice may stand there several times.

    Those that lose are cancelled before the reply is given; their providers may bill what they had begun. Raises
    at once what every one of them would refuse, else the most telling failure when all have failed.
    """

    async def ask(call: Call) -> Reply:
        async with Asked(call, at_once(), lambda choice, call: choice.ask(call)) as asked:
            for choice in choices:
                asked.start(choice)
            while asked.running:
                outcome = await asked.next()
                if outcome.reply is not None:
                    return asked.take(outcome.reply)
                if isinstance(outcome.error, AttemptError) and is_final(outcome.error):
                    break
            raise asked.failure()

    return ask
