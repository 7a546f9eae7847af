"""What can be read off a prompt in microseconds: its size, its structure, its likely task and complexity."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Literal

from msgspec import Struct

from ..core import Audio, Chat, Document, Image, InvalidCall, Message, Text, Thinking, ToolResult, ToolUse
from .tasks import TASKS, task_probabilities

Complexity = Literal["simple", "moderate", "complex"]
COMPLEXITIES: tuple[Complexity, ...] = ("simple", "moderate", "complex")

FEATURES_VERSION = 1
READ_AT_MOST = 20_000
"""Characters of the question that are read, from its beginning and its end: that is where people say what they want."""
SHORT = 60
"""Characters: a message shorter than that ("yes", "commit it") is read with what was asked before it."""

IMAGE_TOKENS = 1_000
"""A middling image costs about as much with every provider: enough for a context check."""


class Prompt(Struct, frozen=True):
    """A chat call, measured. Token counts are estimates from characters."""

    input_tokens: int
    question_chars: int
    messages: int
    tools: int
    images: int
    needs: frozenset[str]
    """Capabilities without which a model cannot serve the call; see `Candidate.capabilities`."""
    code: bool
    questions: int
    """Question marks and numbered or bulleted steps in the question."""
    numbers: int
    non_ascii: float
    """Share of the question's characters, 0 to 1."""
    tasks: Mapping[str, float]
    """Task type → probability; they sum to 1."""
    complexities: Mapping[str, float]
    """Complexity → probability; they sum to 1."""

    @property
    def task(self) -> str:
        return max(self.tasks, key=self.tasks.__getitem__)

    @property
    def complexity(self) -> str:
        return max(self.complexities, key=self.complexities.__getitem__)

    def encode(self) -> bytes:
        """The features as a versioned vector for the ledger, at most 256 bytes; nothing of the text can be read back.

        Layout, little-endian: version u8; input_tokens u32; question_chars u32; messages, tools, images, questions,
        numbers u16 each; flags u8 (bit 0 code, 1 tools, 2 json, 3 image, 4 audio, 5 document); non_ascii u8 (/255);
        then a u8 (/255) for each complexity and for each task, in the order of COMPLEXITIES and TASKS.
        """
        flags = sum(
            bit
            for bit, on in (
                (1, self.code),
                *(
                    (2 << i, need in self.needs)
                    for i, need in enumerate(("tools", "json", "image", "audio", "document"))
                ),
            )
            if on
        )
        counts = (self.messages, self.tools, self.images, self.questions, self.numbers)
        return struct.pack(
            f"<BII5HBB{len(COMPLEXITIES)}B{len(TASKS)}B",
            FEATURES_VERSION,
            min(self.input_tokens, 0xFFFFFFFF),
            min(self.question_chars, 0xFFFFFFFF),
            *(min(count, 0xFFFF) for count in counts),
            flags,
            round(self.non_ascii * 255),
            *(round(self.complexities[name] * 255) for name in COMPLEXITIES),
            *(round(self.tasks[name] * 255) for name in TASKS),
        )


def read_prompt(chat: Chat, stated_task: str = "") -> Prompt:
    """Measure a chat. A `stated_task` is believed: it gets all the probability.

    Raises InvalidCall for a stated task that does not exist.
    """
    if stated_task and stated_task not in TASKS:
        raise InvalidCall(_no_such_task(stated_task), param="task")
    question = _question(chat.messages)
    code = bool(_CODE.search(question))
    questions = question.count("?") + len(_STEPS.findall(question))
    numbers = len(_NUMBERS.findall(question))
    needs = _needs(chat)
    if stated_task:
        tasks: Mapping[str, float] = {name: float(name == stated_task) for name in TASKS}
    else:
        tasks = task_probabilities(question, code=code, tools=bool(chat.tools), numbers=numbers)
    return Prompt(
        input_tokens=estimate_tokens(chat),
        question_chars=len(question),
        messages=len(chat.messages),
        tools=len(chat.tools),
        images=sum(isinstance(part, Image) for message in chat.messages for part in message.parts),
        needs=needs,
        code=code,
        questions=questions,
        numbers=numbers,
        non_ascii=_non_ascii(question),
        tasks=tasks,
        complexities=_complexities(question, questions, numbers, code, tasks),
    )


def estimate_tokens(chat: Chat) -> int:
    """Input tokens, estimated: four ASCII characters or one and a half others a token, four tokens a message."""
    tokens = 0.0
    for message in chat.messages:
        tokens += 4
        for part in message.parts:
            tokens += _part_tokens(part)
    for tool in chat.tools:
        tokens += 8 + (len(tool.name) + len(tool.description) + len(bytes(tool.schema))) / 4
    if chat.output is not None and chat.output.schema is not None:
        tokens += len(bytes(chat.output.schema)) / 4
    return int(tokens) + 1


def text_tokens(text: str) -> float:
    if text.isascii():
        return len(text) / 4
    ascii_bytes = len(text.encode("ascii", "ignore"))
    return ascii_bytes / 4 + (len(text) - ascii_bytes) / 1.5


_CODE = re.compile(
    r"```|\bdef \w+\(|\bclass \w+|\bfunction\b|=>|\bSELECT\b|\bimport \w+|[;{}][ \t]*$|</\w+>", re.MULTILINE
)
# Not \s: it takes newlines, and a page of empty lines would be read again from each of them.
_STEPS = re.compile(r"^[ \t]*(?:\d+[.)]|[-*•])[ \t]", re.MULTILINE)
_REMINDER = re.compile(r"<system-reminder>.*?(?:</system-reminder>|\Z)", re.DOTALL)
_NUMBERS = re.compile(r"\d+(?:[.,]\d+)?")
_HARD = re.compile(
    r"\b(prove|proof|derive|architect\w*|design a|trade-?offs?|optimi[sz]e|refactor|concurren\w+|distributed|"
    r"step by step|in depth|comprehensive|thorough\w*|analy[sz]e|compare|evaluate|debug|algorithm|theorem|security|"
    r"multi-?step|research|strategy|root cause|edge cases?)\b",
    re.IGNORECASE,
)


def _no_such_task(stated: str) -> str:
    near = get_close_matches(stated[:100], TASKS, 1)
    hint = f"Did you mean {near[0]!r}?" if near else f"The tasks are {', '.join(TASKS)}."
    return f"There is no task {stated[:100]!r}. {hint}"


def _question(messages: tuple[Message, ...]) -> str:
    """The text that asks: the last user message that has any, with those before it while it is short.

    What wraps the question is none of it: neither a system prompt nor the reminders that agents put into messages.
    """
    asked: list[str] = []
    for message in reversed(messages):
        if message.role == "user" and (text := _without_reminders(message.text)):
            asked.insert(0, text)
            if sum(map(len, asked)) >= SHORT:
                break
    question = "\n".join(asked)
    if len(question) <= READ_AT_MOST:
        return question
    return f"{question[: READ_AT_MOST - 4_000]}\n{question[-4_000:]}"


def _without_reminders(text: str) -> str:
    return _REMINDER.sub("", text).strip() if "<system-reminder>" in text else text.strip()


def _needs(chat: Chat) -> frozenset[str]:
    needs = set()
    if chat.tools:
        needs.add("tools")
    if chat.output is not None:
        needs.add("json")
    for message in chat.messages:
        for part in message.parts:
            inner = part.content if isinstance(part, ToolResult) else (part,)
            for piece in inner:
                if isinstance(piece, Image):
                    needs.add("image")
                elif isinstance(piece, Audio):
                    needs.add("audio")
                elif isinstance(piece, Document):
                    needs.add("document")
    return frozenset(needs)


def _part_tokens(part: object) -> float:
    if isinstance(part, Text | Thinking):
        return text_tokens(part.text)
    if isinstance(part, ToolUse):
        return 8 + text_tokens(part.arguments)
    if isinstance(part, ToolResult):
        return 8 + sum(_part_tokens(piece) for piece in part.content)
    if isinstance(part, Image):
        return IMAGE_TOKENS
    if isinstance(part, Document) and part.media_type.startswith("text/"):
        return len(part.data) * 3 / 16  # four characters a token, once base64 is taken off
    if isinstance(part, Audio | Document):
        return len(part.data) / 12 or IMAGE_TOKENS  # by its URL: nobody has looked how long it is
    return 0


def _non_ascii(text: str) -> float:
    if not text or text.isascii():
        return 0.0
    return 1 - len(text.encode("ascii", "ignore")) / len(text)


def _complexities(
    question: str, questions: int, numbers: int, code: bool, tasks: Mapping[str, float]
) -> dict[str, float]:
    """An ordered logit on one score: length, parts, hard words and the task. Stated by hand, not fitted."""
    hard_words = min(len(_HARD.findall(question)), 4)
    score = (
        0.35 * min(len(question) / 400, 8)
        + 0.9 * hard_words
        + 0.25 * min(questions, 6)
        + 0.05 * min(numbers, 10)
        + 0.3 * code
        + sum(_TASK_WEIGHT.get(task, 0.0) * probability for task, probability in tasks.items())
    )
    above_simple, above_moderate = _logistic(1.6 * (score - 1.0)), _logistic(1.6 * (score - 2.8))
    return {"simple": 1 - above_simple, "moderate": above_simple - above_moderate, "complex": above_moderate}


_TASK_WEIGHT = {
    "mathematics": 0.6,
    "analysis": 0.7,
    "coding": 0.4,
    "decomposition": 0.6,
    "structure assessment": 0.4,
    "rationale generation": 0.5,
    "classification": -0.4,
    "extraction": -0.2,
    "parameter extraction": -0.2,
    "chat": -0.3,
}


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
