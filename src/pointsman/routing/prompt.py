"""What can be read off a prompt in microseconds: its size, its layout, its languages, its task and its complexity."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from operator import sub

from msgspec import Struct

from ..core import Audio, Chat, Document, Image, InvalidCall, LedgerError, ToolResult
from .complexity import COMPLEXITIES, Complexity, complexity_probabilities
from .conversation import in_tool_loop, question_of
from .foreign import foreign_cues
from .languages import CODE_LANGUAGES, LANGUAGES, code_language_of, language_of
from .sizes import estimate_tokens
from .structure import STRUCTURES, count_numbers, count_steps, has_code, structure_of
from .tasks import TASKS, task_probabilities
from .wording import take_apart

FEATURES_VERSION = 2
VECTOR_BYTES = 180
"""The most that `Prompt.vector` may have, so that all features fit into the ledger's 256 bytes."""
NEEDS = ("tools", "json", "image", "audio", "document")
"""The order is that of the encoded features."""


class Prompt(Struct, frozen=True):
    """A chat call, measured. Token counts are estimates from characters. Shares and probabilities are multiples of
    1/255: what is encoded and decoded again is the same, so a replay decides as the router did."""

    input_tokens: int
    question_chars: int
    """Characters of the question, before it was cut."""
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
    question: str = ""
    """The text that asks, without what wraps it, cut to about 20,000 characters. Never encoded."""
    language: str = ""
    """The natural language, by its two-letter code; '' where it is not sure."""
    code_language: str = ""
    """Of CODE_LANGUAGES; '' for no code, and where it is not sure."""
    structure: frozenset[str] = frozenset()
    """Of STRUCTURES."""
    in_tool_loop: bool = False
    """The last message is a tool's result: the model that asked for it is to go on."""
    vector: bytes = b""
    """What a learned router has read, in its own layout; at most VECTOR_BYTES."""

    @property
    def task(self) -> str:
        return max(self.tasks, key=self.tasks.__getitem__)

    @property
    def complexity(self) -> Complexity:
        return max(COMPLEXITIES, key=self.complexities.__getitem__)

    def encode(self) -> bytes:
        """The features as a versioned vector for the ledger, at most 256 bytes; nothing of the text can be read back.

        Layout, little-endian: version u8; input_tokens u32; question_chars u32; messages, tools, images, questions,
        numbers u16 each; flags u8 (bit 0 code, 1 tools, 2 json, 3 image, 4 audio, 5 document, 6 in_tool_loop);
        non_ascii u8 (/255); then a u8 (/255) for each complexity and for each task, in the order of COMPLEXITIES and
        TASKS. From version 2 on: language, code_language u8 each (places in LANGUAGES and CODE_LANGUAGES); structure
        u8 (bits, in the order of STRUCTURES); then the vector, to the end. A longer vector is left out.
        """
        flags = self.code | self.in_tool_loop << 6 | _bits(self.needs, NEEDS) << 1
        counts = (self.messages, self.tools, self.images, self.questions, self.numbers)
        return (
            _HEAD.pack(
                FEATURES_VERSION,
                min(self.input_tokens, 0xFFFFFFFF),
                min(self.question_chars, 0xFFFFFFFF),
                *(min(count, 0xFFFF) for count in counts),
                flags,
                round(self.non_ascii * 255),
                *(round(self.complexities[name] * 255) for name in COMPLEXITIES),
                *(round(self.tasks[name] * 255) for name in TASKS),
            )
            + _MORE.pack(
                LANGUAGES.index(self.language) if self.language in LANGUAGES else 0,
                CODE_LANGUAGES.index(self.code_language) if self.code_language in CODE_LANGUAGES else 0,
                _bits(self.structure, STRUCTURES),
            )
            + (self.vector if len(self.vector) <= VECTOR_BYTES else b"")
        )

    @staticmethod
    def decode(features: bytes) -> Prompt:
        """The prompt of which these are the features, without its question; versions 1 and 2.

        Raises LedgerError for what are no features, and for those of a version that is not known here.
        """
        version = features[0] if features else 0
        if version not in (1, FEATURES_VERSION) or len(features) < _HEAD.size + (_MORE.size if version > 1 else 0):
            raise LedgerError(
                f"The features of a prompt cannot be read: {len(features)} bytes of version {version}, known are 1 and "
                f"{FEATURES_VERSION}. A newer release may have written them."
            )
        _, tokens, chars, messages, tools, images, questions, numbers, flags, foreign, *shares = _HEAD.unpack_from(
            features
        )
        language, code_language, structure = _MORE.unpack_from(features, _HEAD.size) if version > 1 else (0, 0, 0)
        return Prompt(
            input_tokens=tokens,
            question_chars=chars,
            messages=messages,
            tools=tools,
            images=images,
            needs=_names(flags >> 1, NEEDS),
            code=bool(flags & 1),
            questions=questions,
            numbers=numbers,
            non_ascii=foreign / 255,
            tasks=_shares(TASKS, shares[len(COMPLEXITIES) :]),
            complexities=_shares(COMPLEXITIES, shares[: len(COMPLEXITIES)]),
            language=LANGUAGES[language] if language < len(LANGUAGES) else "",
            code_language=CODE_LANGUAGES[code_language] if code_language < len(CODE_LANGUAGES) else "",
            structure=_names(structure, STRUCTURES),
            in_tool_loop=bool(version > 1 and flags & 64),
            vector=features[_HEAD.size + _MORE.size :] if version > 1 else b"",
        )


def recorded_prompt(features: bytes) -> Prompt | None:
    """`Prompt.decode` of what a ledger holds; None where none were kept, or those of a version that is not known."""
    try:
        return Prompt.decode(features)
    except LedgerError:
        return None


def read_prompt(chat: Chat, stated_task: str = "") -> Prompt:
    """Measure a chat. A `stated_task` is believed: it gets all the probability.

    Raises InvalidCall for a stated task that does not exist.
    """
    if stated_task and stated_task not in TASKS:
        raise InvalidCall(_no_such_task(stated_task), param="task")
    question, chars = question_of(chat)
    wording = take_apart(question)
    code = has_code(question)
    steps, marks, numbers = count_steps(question), question.count("?"), count_numbers(question)
    structure = structure_of(question)
    language = language_of(wording.instruction, wording.tokens)
    foreign = foreign_cues(wording.instruction, wording.tokens, language, numbers=numbers)
    tasks = {stated_task: 1.0}
    if not stated_task:
        is_json = "json" in structure
        tasks = task_probabilities(wording, code=code, json=is_json, numbers=numbers, foreign=foreign.scores)
    complexities = complexity_probabilities(
        wording, tasks, steps=steps, questions=marks, numbers=numbers, code=code, foreign=foreign
    )
    return Prompt(
        input_tokens=estimate_tokens(chat),
        question_chars=chars,
        messages=len(chat.messages),
        tools=len(chat.tools),
        images=sum(isinstance(part, Image) for message in chat.messages for part in message.parts),
        needs=_needs(chat),
        code=code,
        questions=marks + steps,
        numbers=numbers,
        non_ascii=_non_ascii(question),
        tasks=_shares(TASKS, _in_255ths([tasks.get(task, 0.0) for task in TASKS])),
        complexities=_shares(COMPLEXITIES, _in_255ths([complexities[name] for name in COMPLEXITIES])),
        question=question,
        language=language,
        code_language=code_language_of(question, wording.tokens, code=code),
        structure=structure,
        in_tool_loop=in_tool_loop(chat.messages),
    )


_HEAD = struct.Struct(f"<BII5HBB{len(COMPLEXITIES)}B{len(TASKS)}B")
_MORE = struct.Struct("<BBB")


def _bits(held: frozenset[str], names: Sequence[str]) -> int:
    return sum(1 << place for place, name in enumerate(names) if name in held)


def _names(bits: int, names: Sequence[str]) -> frozenset[str]:
    return frozenset(name for place, name in enumerate(names) if bits >> place & 1)


def _in_255ths(probabilities: Sequence[float]) -> list[int]:
    """Probabilities that sum to 1 → whole numbers that sum to 255: what is left over goes to the largest remainders."""
    exact = [probability * 255 for probability in probabilities]
    whole = list(map(int, exact))
    remainders = list(map(sub, whole, exact))
    for place in sorted(range(len(exact)), key=remainders.__getitem__)[: 255 - sum(whole)]:
        whole[place] += 1
    return whole


def _shares(names: Sequence[str], counts: Sequence[int]) -> dict[str, float]:
    """Counts → shares of their sum; all alike where there are none."""
    total = sum(counts)
    if not total:
        return dict.fromkeys(names, 1 / len(names))
    return {name: count / total for name, count in zip(names, counts, strict=True)}


def _no_such_task(stated: str) -> str:
    near = get_close_matches(stated[:100], TASKS, 1)
    hint = f"Did you mean {near[0]!r}?" if near else f"The tasks are {', '.join(TASKS)}."
    return f"There is no task {stated[:100]!r}. {hint}"


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


def _non_ascii(text: str) -> float:
    """A multiple of 1/255."""
    if not text or text.isascii():
        return 0.0
    return round(255 * (1 - len(text.encode("ascii", "ignore")) / len(text))) / 255
