"""What a question says, taken apart: what it asks for, the material that it asks about, and its words in order.

"Translate this into French: The train is late." asks for a translation; that a train is late is material, and words in
it say little of the task. Code in fences, quotations, and what follows a colon are material.
"""

from __future__ import annotations

import re

from msgspec import Struct

from .structure import INLINE_CODE

CODE = "_code_"
"""The word that stands for code between backticks, as "_" does for a quotation."""
INSTRUCTION_CHARS = 1_600
"""Of a longer instruction the beginning and the end are read: that is where people say what they want."""
HEAD_CHARS, TAIL_CHARS = 1_000, 600
MATERIAL_CHARS = 600
LONG = 2_000
"""Characters: past that, paragraphs are looked at for those that ask."""


class Wording(Struct, frozen=True):
    """A question in parts."""

    instruction: str
    """What it asks for."""
    material: str
    """What it asks about, cut to MATERIAL_CHARS; '' where nothing can be told apart."""
    tokens: tuple[str, ...]
    """The words of the instruction in small letters, with "." where a sentence ends and "?" where a question does."""


def take_apart(question: str) -> Wording:
    """Instruction, material and words. Time grows with the length of the question, and is bounded past a few kB."""
    text, taken = _without_fences(question)
    if len(text) > LONG:
        text, rest = _asking_paragraphs(text)
        taken.append(rest)
    if "`" in text:
        text = INLINE_CODE.sub(lambda found: _keep(found, taken, CODE), text)
    text = _QUOTED.sub(lambda found: _keep(found, taken), text)
    text, after = _before_colon(_SHOWS.sub("", text))
    taken.append(after)
    instruction = text.strip() or question[:INSTRUCTION_CHARS].strip()
    material = "\n".join(filter(None, taken))
    return Wording(instruction, material[:MATERIAL_CHARS], tokens_of(instruction))


def word_set(words: str) -> frozenset[str]:
    """Words with blanks between them, as a set: how the tables of this room are written."""
    return frozenset(words.split())


def tokens_of(text: str) -> tuple[str, ...]:
    """Words in small letters, with "." where a sentence ends and "?" where a question does."""
    text = _SENTENCE_ENDS.sub(" . ", ends_of(text).lower()).replace("？", "?").replace("?", " ? ")
    return tuple(text.translate(_SPACED).split())


def ends_of(instruction: str) -> str:
    """The beginning and the end of a long instruction; all of another."""
    if len(instruction) <= INSTRUCTION_CHARS:
        return instruction
    return f"{instruction[:HEAD_CHARS]}\n{instruction[-TAIL_CHARS:]}"


_SENTENCE_ENDS = re.compile(r"[.!:;](?=\s|\Z)|\n|[。！：；、，]")
_SPACED = str.maketrans({**dict.fromkeys(',()[]{}"“”„«»*`~<>|=/\\!;:…¿¡', " "), "’": "'", "‘": " ", "\0": " "})
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*$", re.MULTILINE)
# Quotations of up to 600 characters on one line; an apostrophe within a word opens none. The lengths keep it linear.
_QUOTED = re.compile(
    r"\"[^\"\n]{2,600}\"|“[^“”\n]{2,600}”|«[^«»\n]{2,600}»|„[^„“”\n]{2,600}[“”]|「[^「」\n]{1,600}」"
    r"|'(?<!\w')[^'\n]{2,600}'(?!\w)|‘(?<!\w‘)[^‘’\n]{2,600}’(?!\w)"
)
_COLON = re.compile(r"[:：](?:[ \t]+|[ \t]*\n\s*|(?<=：))(?=[\"'“„«「_\d(\[{<]|[^\W\d_])")
_SHOWS = re.compile(r"^(?:here(?:'s| is| are)|this is|file)\b[^\n]{0,120}:[ \t]*$", re.IGNORECASE | re.MULTILINE)
"""A line that only shows what comes: "Here is the file:"."""
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_HEADED = 320
"""A colon further in than that belongs to a sentence."""
_ASKS = re.compile(
    r"\?|？|\b(?:please|translate|summari[sz]e|explain|write|rewrite|fix|list|find|extract|classify|describe|compare|"
    r"give|tell|show|create|make|implement|refactor|review|analy[sz]e|calculate|solve|prove|rate|check|what|why|how|"
    r"which|who|when|where|can you|could you|should|tl;dr|identify|convert|generate|answer)\b",
    re.IGNORECASE,
)


def _keep(found: re.Match[str], taken: list[str], instead: str = "_") -> str:
    taken.append(found[0][1:-1])
    return f" {instead} "


def _without_fences(text: str) -> tuple[str, list[str]]:
    """The text outside of fenced code, and the code. A fence that is never closed goes on to the end."""
    if "```" not in text and "~~~" not in text:
        return text, []
    outside: list[str] = []
    inside: list[str] = []
    start = 0
    is_inside = False
    for fence in _FENCE.finditer(text):
        (inside if is_inside else outside).append(text[start : fence.start()])
        start = fence.end()
        is_inside = not is_inside
    (inside if is_inside else outside).append(text[start:])
    return "\n".join(outside), inside


def _asking_paragraphs(text: str) -> tuple[str, str]:
    """Of a long text the first and the last paragraph, where they are short and ask; else all of it."""
    first, last = _PARAGRAPH.split(text[:HEAD_CHARS], 1)[0], _PARAGRAPH.split(text[-HEAD_CHARS:])[-1]
    if len(last) == HEAD_CHARS:
        last = last.rpartition("\n")[2]
    if len(first) == HEAD_CHARS:
        first = first.partition("\n")[0]
    asking = [part for part in (first, last) if len(part) < HEAD_CHARS and _ASKS.search(part)]
    if not asking or len(text) < LONG:
        return text, ""
    middle = len(text) // 2
    return "\n".join(asking), text[middle : middle + MATERIAL_CHARS]


def _before_colon(text: str) -> tuple[str, str]:
    """ "Do that: material" → both parts. A list of demands in small letters goes on with the sentence."""
    colon = _COLON.search(text, 0, _HEADED)
    if colon is None:
        return text, ""
    head, after = text[: colon.start()], text[colon.end() :]
    begins = after[:1]
    if head.count("{") > head.count("}"):
        return text, ""  # The colon stands between a key and its value.
    last = head.rpartition(" ")[2]
    if begins.islower() or len(head.split()) < 2 or (len(last) == 1 and last.islower() and last.isascii()):
        return text, ""  # "f: ℝ → ℝ" is a mapping.
    return f"{head}:", after
