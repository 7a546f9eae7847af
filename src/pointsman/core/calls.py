"""A Call: one thing asked of a model, as it came in, and what its caller needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct, structs

from .chat import Chat
from .money import Nanos
from .trace import NO_TRACE, Tally, Trace

Op = Literal["chat", "embed", "speech", "transcribe"]
Priority = Literal["performance", "balanced", "frugal", "creative", "analytical"]


class Needs(Struct, frozen=True, gc=False):
    """What the caller asks for beside the prompt. A hard need filters candidates; `priority` orders what is left."""

    priority: Priority | None = None
    max_cost: Nanos | None = None
    """The most that this call may cost."""
    max_latency: float | None = None
    """Seconds until the answer should be whole."""
    min_quality: float | None = None
    """0 to 1."""
    local_only: bool = False
    """Private: nothing leaves this machine, whatever fails."""
    tier: Literal["local", "free", "paid"] | None = None

    @property
    def are_hard(self) -> bool:
        """Whether anything here may rule a model out."""
        return self is not NO_NEEDS and (
            self.local_only or self.max_cost is not None or self.max_latency is not None or self.tier is not None
        )


NO_NEEDS = Needs()


class Timeouts(Struct, frozen=True, gc=False):
    """Seconds. None leaves it to whoever is asked next: a call to its pool, that to the provider, that to the
    configuration."""

    connect: float | None = None
    """Until the connection stands."""
    ttft: float | None = None
    """Until a stream's first content."""
    idle: float | None = None
    """Between two chunks after it."""
    total: float | None = None
    """The whole of a call: all its attempts, and the pauses between them."""

    def over(self, others: Timeouts) -> Timeouts:
        """These where they are stated, else the others."""
        if self is NO_TIMEOUTS:
            return others
        return Timeouts(
            connect=others.connect if self.connect is None else self.connect,
            ttft=others.ttft if self.ttft is None else self.ttft,
            idle=others.idle if self.idle is None else self.idle,
            total=others.total if self.total is None else self.total,
        )


NO_TIMEOUTS = Timeouts()


class Caller(Struct, frozen=True, gc=False):
    """Who asks: for budgets, rights and the bill. All fields may be empty."""

    key: str = ""
    """Id of the virtual key, never the key itself."""
    user: str = ""
    session: str = ""
    tags: tuple[str, ...] = ()


ANYONE = Caller()


class Call:
    """One call on its way to a model.

    `body` holds the original bytes in `dialect`, so that fields we do not know survive; a call that was made in our
    own process has neither. `chat` is the typed view: decoded on first use, since most calls never need it.
    """

    __slots__ = (
        "id",
        "op",
        "dialect",
        "body",
        "model",
        "stream",
        "wants_usage",
        "needs",
        "timeouts",
        "cap",
        "caller",
        "task",
        "trace",
        "tally",
        "_max_tokens",
        "_states_form",
        "_decode",
        "_chat",
    )

    def __init__(
        self,
        *,
        id: str,
        model: str,
        chat: Chat | None = None,
        op: Op = "chat",
        dialect: str = "",
        body: bytes = b"",
        decode: Callable[[bytes], Chat] | None = None,
        stream: bool = False,
        wants_usage: bool = True,
        max_tokens: int | None = None,
        states_form: bool = False,
        needs: Needs = NO_NEEDS,
        timeouts: Timeouts = NO_TIMEOUTS,
        caller: Caller = ANYONE,
        task: str = "",
        trace: Trace = NO_TRACE,
        tally: Tally | None = None,
    ) -> None:
        self.id = id
        self.op = op
        self.dialect = dialect
        self.body = body
        self.model = model
        self.stream = stream
        self.wants_usage = wants_usage
        """The caller asked for a usage event at the end of its stream."""
        self.needs = needs
        self.timeouts = timeouts
        self.cap: int | None = None
        """Tokens of the longest answer that its budget pays for, where the caller states no bound."""
        self.caller = caller
        self.task = task
        """The task type, where the caller states it; else '' and the router finds it."""
        self.trace = trace
        self.tally = tally or Tally()
        self._max_tokens = max_tokens
        self._states_form = states_form
        self._decode = decode
        self._chat = chat

    @property
    def max_tokens(self) -> int | None:
        """Tokens of the longest answer, where the caller states them. It needs no look into the body."""
        return self._max_tokens if self._chat is None else self._chat.max_tokens

    @property
    def states_form(self) -> bool:
        """Whether it may ask for JSON, or bring tools. It needs no look into the body."""
        return self._states_form if self._chat is None else bool(self._chat.tools or self._chat.output)

    @property
    def chat(self) -> Chat:
        """The typed view. Raises InvalidCall where the body is not what its dialect promises."""
        if self._chat is None:
            assert self._decode is not None, "a Call has a chat, or a body and its decoder"
            self._chat = self._decode(self.body)
        return self._chat

    def traced(self, trace: Trace) -> Call:
        """The same call, with the reason for its next attempts. The tally is shared."""
        return self._but(trace=trace)

    def with_needs(self, needs: Needs, *, task: str) -> Call:
        """The same call, with what a mode states for it. The tally is shared."""
        return self._but(needs=needs, task=task)

    def within(self, timeouts: Timeouts) -> Call:
        """The same call, with what a pool states where the call itself does not."""
        return self._but(timeouts=self.timeouts.over(timeouts))

    def lasting(self, seconds: float) -> Call:
        """The same call, which ends so soon at the latest."""
        total = self.timeouts.total
        limit = seconds if total is None else min(total, seconds)
        return self._but(timeouts=structs.replace(self.timeouts, total=limit))

    def capped(self, tokens: int) -> Call:
        """The same call, its answer bounded."""
        call = self._but()
        call.cap = tokens
        return call

    def _but(
        self,
        *,
        trace: Trace | None = None,
        needs: Needs | None = None,
        task: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> Call:
        call = Call(
            id=self.id,
            model=self.model,
            chat=self._chat,
            op=self.op,
            dialect=self.dialect,
            body=self.body,
            decode=self._decode,
            stream=self.stream,
            wants_usage=self.wants_usage,
            max_tokens=self._max_tokens,
            states_form=self._states_form,
            needs=needs or self.needs,
            timeouts=timeouts or self.timeouts,
            caller=self.caller,
            task=self.task if task is None else task,
            trace=trace or self.trace,
            tally=self.tally,
        )
        call.cap = self.cap
        return call

    def __repr__(self) -> str:
        return f"Call({self.id}, {self.op}, model={self.model!r}, {len(self.body)} bytes of {self.dialect or 'chat'})"
