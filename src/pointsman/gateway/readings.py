"""What the prompts are of calls that name their model: nobody needs it to serve them, but replay and reports will.

A reading takes 100 to 300 µs. So it is taken while the upstream works, a little after the call went out (its first
content must not wait for us), and of no more calls than leave the machine to the calls themselves: past that, entries
bear no task, which says that nobody looked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import structs

from ..core import Call, InvalidCall, Trace
from ..routing import Prompt, read_prompt

Vector = Callable[[Prompt], bytes]

MOST_A_SECOND = 25
"""Less than 1 % of a core."""
MOST_VECTORS_A_SECOND = 5
"""Of these, how many are read for learners, too: it takes as long again, or longer for a long prompt."""
LATER = 0.003
"""Seconds. No model answers sooner."""


class Readings:
    """Reads prompts beside the calls. `steady` gives seconds, `vector` what a learner reads in a prompt; while that
    `must_wait`, prompts are read at the end of their calls."""

    def __init__(self, steady: Callable[[], float], vector: Vector, must_wait: Callable[[], bool]) -> None:
        self._steady = steady
        self._vector = vector
        self._must_wait = must_wait
        self._second = 0
        self._taken = 0

    def begin(self, call: Call) -> Reading | None:
        """A reading of this call, taken in a moment, or when it is asked for; None where its trace says all, or where
        too many are being taken."""
        if call.trace.decision_id or call.op != "chat":
            return None
        steady = self._steady
        second = int(steady())
        if second != self._second:
            self._second, self._taken = second, 0
        if self._taken >= MOST_A_SECOND:
            return None
        self._taken += 1
        reading = Reading(call, self._vector if self._taken <= MOST_VECTORS_A_SECOND else _no_vector)
        if not self._must_wait():
            asyncio.get_running_loop().call_later(LATER, reading.take)
        return reading


class Reading:
    """A trace to be."""

    __slots__ = ("_call", "_trace", "_vector")

    def __init__(self, call: Call, vector: Vector) -> None:
        self._call = call
        self._vector = vector
        self._trace: Trace | None = None

    @property
    def trace(self) -> Trace:
        """The call's own trace, with what its prompt is."""
        self.take()
        assert self._trace is not None, "it was just taken"
        return self._trace

    def take(self) -> None:
        if self._trace is None:
            self._trace = _read(self._call, self._vector)


def _no_vector(prompt: Prompt) -> bytes:
    return b""


def _read(call: Call, vector: Vector) -> Trace:
    """A prompt that we cannot read is passed on all the same: it is for the upstream to judge."""
    try:
        prompt = read_prompt(call.chat, call.task)
    except InvalidCall:
        return call.trace
    features = structs.replace(prompt, vector=vector(prompt)).encode()
    return call.trace.read_as(prompt.task, prompt.complexity, features)
