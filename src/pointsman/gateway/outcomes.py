"""What answers tell of their quality by themselves: that one was refused, cut off, or has not the form that was asked.

Whether it has is found out beside the calls, in a thread, and of no more calls than leave the machine to them. Until
then call and answer lie in memory, and nowhere else.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from ..core import Answer, Call, Chat, Ending, InvalidCall
from ..ledger import Entry, Feedback, Ledger, Why, automatic
from .schemas import breaks

MOST_KEPT: Final = 1_000_000
"""Characters of an answer, and bytes of its call, that are kept to be looked at."""
MOST_WAITING: Final = 64
"""Past that answers are not looked at. Who is looked at does not depend on how good the answer was, so what is learned
stays right."""
MOST_SECONDS: Final = 0.1
"""That looking may take at a time; the rest waits for the next one."""
MOST_TOLD: Final = 1000
"""That wait for a ledger which cannot be written."""
MOST_SECONDS_AT_END: Final = 5.0
"""That looking may take when a program ends: whatever waits is looked at, but for what was made to take long."""
FAR_BELOW: Final = 0.95
"""Who cuts at the caller's bound may count tokens a little otherwise than his usage says."""


class Outcomes:
    """Notices what failed, and records it as feedback. `steady` gives seconds."""

    def __init__(self, ledger: Ledger, steady: Callable[[], float]) -> None:
        self._ledger = ledger
        self._steady = steady
        self._told: deque[Feedback] = deque()
        self._waiting: deque[_Waiting] = deque()
        self._recording = threading.Lock()

    def notice(self, call: Call, entry: Entry, ending: Ending) -> None:
        """An attempt has ended, and was recorded. Takes some microseconds."""
        if why := plain_fault(call, entry, ending):
            if len(self._told) < MOST_TOLD:
                self._told.append(automatic(entry, why))
            return
        answer = ending.answer
        if answer is None or entry.status != "ok" or entry.finish not in ("stop", "tools") or not call.states_form:
            return
        if len(self._waiting) < MOST_WAITING and len(call.body) + ending.chars <= MOST_KEPT:
            self._waiting.append(_Waiting(call, entry, answer))

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be recorded."""
        return not (self._told or self._waiting)

    def record(self) -> int:
        """Looks at what waits, and adds all that was noticed to the ledger; gives the number. Takes up to some tenths
        of a second, so an event loop gives it to a thread. Raises LedgerError: then what is left is added the next
        time."""
        with self._recording:
            until = self._steady() + MOST_SECONDS
            while self._waiting and self._steady() < until:
                one = self._waiting.popleft()
                if why := _fault_of_form(one.call, one.answer):
                    self._told.append(automatic(one.entry, why))
            recorded = 0
            while self._told:
                self._ledger.feedback.add(self._told[0])
                self._told.popleft()
                recorded += 1
            return recorded

    def record_all(self) -> None:
        """The same for a program that ends: nothing is left for a next time. Raises LedgerError."""
        until = self._steady() + MOST_SECONDS_AT_END
        while not self.is_idle and self._steady() < until:
            self.record()


class _Waiting(Struct, frozen=True):
    """An answer whose form is to be looked at."""

    call: Call
    entry: Entry
    answer: Answer


def plain_fault(call: Call, entry: Entry, ending: Ending) -> Why:
    """What the end of an attempt tells; '' for nothing.

    Every failure but a refusal is the network's, the provider's or the caller's.
    """
    if entry.status == "cancelled":
        return ""
    if entry.error:
        return "refused" if entry.error == "content_filtered" else ""
    if entry.finish in ("filter", "refusal") or (ending.answer is not None and ending.answer.refusal):
        return "refused"
    return "cut_off" if entry.finish == "length" and not _was_bounded(call, entry) else ""


def _was_bounded(call: Call, entry: Entry) -> bool:
    """Whether the bound that an answer ran into may be its caller's, or that of its budget, and not the model's."""
    bound = call.cap if call.max_tokens is None else call.max_tokens
    if bound is None:
        return False
    usage = entry.usage
    return usage is None or usage.estimated or usage.output_tokens >= FAR_BELOW * bound


def _fault_of_form(call: Call, answer: Answer) -> Why:
    """'' for none, and where it cannot be told."""
    try:
        chat = call.chat
    except InvalidCall:
        return ""
    return "" if chat.choices > 1 else fault_of_form(chat, answer)


def fault_of_form(chat: Chat, answer: Answer) -> Why:
    """What is wrong with the form of a whole answer: of the JSON that was asked for, of the arguments that a tool is
    called with. '' for nothing, and where it cannot be told."""
    schemas = {tool.name: bytes(tool.schema) for tool in chat.tools}
    for used in answer.tools:
        if used.name in schemas and not _is_callable(used.arguments, schemas[used.name]):
            return "tool_arguments"
    if chat.output is None or answer.tools:
        return ""
    try:
        value = _read(answer.text)
    except json.JSONDecodeError:
        return "not_json"
    except (ValueError, RecursionError):  # JSON, but with a number of thousands of digits, or too deep
        return ""
    schema = chat.output.schema
    return "schema" if schema is not None and breaks(bytes(schema), value, len(answer.text)) else ""


def _is_callable(arguments: str, schema: bytes) -> bool:
    """Whether a tool can be called with these arguments. None at all is written as nothing, too."""
    try:
        value = _read(arguments) if arguments.strip() else {}
    except json.JSONDecodeError:
        return False
    except (ValueError, RecursionError):
        return True
    return isinstance(value, dict) and not breaks(schema, value, len(arguments))


def _read(text: str) -> Any:
    """As most callers read it: half a surrogate pair is passed, NaN is not. Raises ValueError: JSONDecodeError where
    it is no JSON."""

    def refuse(constant: str) -> object:
        raise json.JSONDecodeError(f"{constant} is no JSON", text, 0)

    return json.loads(text, parse_constant=refuse)
