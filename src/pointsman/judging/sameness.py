"""Whether two answers come to the same thing, as votes are counted. It says nothing about whether they are right.

In this order: calls of tools are the same by name and arguments; JSON by its value; answers that end with their final
answer (`\\boxed{12}`, `#### 12`, "Answer: 12", "the answer is 12") by what that is; all others by their words, to the
letter. What these rules cannot tell is taken for different: to find that two agree who do not is the worse mistake.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from ..core import Answer, ToolUse

LONGEST = 50_000
"""Characters. What is longer is looked at no closer than whether it is the same: a server has other calls to serve."""


def says_the_same(one: Answer, other: Answer) -> bool:
    """Two that say nothing do not agree."""
    if one.tools or other.tools:
        return _calls(one.tools) == _calls(other.tools)
    if one.refusal or other.refusal:
        return bool(one.refusal) and bool(other.refusal)
    ours, theirs = one.text.strip(), other.text.strip()
    if not ours or not theirs:
        return False
    if ours == theirs or max(len(ours), len(theirs)) > LONGEST:
        return ours == theirs
    our_value, their_value = _json(ours), _json(theirs)
    if our_value or their_value:
        return our_value == their_value
    return _is_one_thing(final_answer(ours) or ours, final_answer(theirs) or theirs)


def final_answer(text: str) -> str:
    """What a text ends with as its one final answer; '' where it states none, or more than one."""
    found = next(filter(None, ([match.end() for match in way.finditer(text)] for way in _STATES)), [])
    if len(found) != 1:
        return ""
    begin = found[0]
    stated = text[begin : _closing(text, begin)] if text[begin - 1] == "{" else text[begin:].strip()
    return "" if "\n" in stated else _bare(stated)


_STATES = (
    re.compile(r"\\boxed\{"),
    re.compile(r"^####[ \t]+(?=[-+$€£]?\.?\d)", re.M),
    re.compile(r"\banswer(?: is\b:?|\*{0,2}:\*{0,2})\s*", re.I),
)
"""The first that a text has. The second as the solutions of GSM8K end: a heading is no answer."""


def _closing(text: str, begin: int) -> int:
    """Where the brace closes that was opened before `begin`; `begin` itself where none does."""
    depth = 1
    for brace in _BRACE.finditer(text, begin):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return brace.start()
    return begin


_BRACE = re.compile(r"[{}]")


def _bare(text: str) -> str:
    """Without emphasis and the full stop after it."""
    return text.strip().strip("*`").strip().removesuffix(".").strip().strip("*`").strip()


def _is_one_thing(one: str, other: str) -> bool:
    ours, theirs = _amount(one), _amount(other)
    if ours is not None and theirs is not None:
        units = {ours[1], theirs[1]} - {""}
        return ours[0] == theirs[0] and len(units) < 2
    return _words(one) == _words(other)


_AMOUNT = re.compile(r"([$€£]?)\s?([-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?)\s?(%?)")
MOST_DIGITS = 400


def _amount(text: str) -> tuple[Decimal, str] | None:
    """'$1,250.00' → 1250 and its sign, '' for none; None for what is more than a number."""
    bare = _bare(text)
    found = _AMOUNT.fullmatch(bare) if len(bare) <= MOST_DIGITS else None
    if found is None or not found[2].strip("-+\u2212"):
        return None
    number = Decimal(found[2].replace(",", "").replace("\u2212", "-"))
    return number, found[1] + found[3]


def _words(text: str) -> list[str]:
    """Case says nothing of plain words; beside digits ('5 mW', '5 MW') and in code it may."""
    bare = _bare(text)
    return (bare.casefold() if _PLAIN.fullmatch(bare) else bare).split()


_PLAIN = re.compile(r"[^\W\d_]+(?:[ ,;:'\u2019\-]+[^\W\d_]+)*[!?]?")


def _calls(tools: Sequence[ToolUse]) -> list[tuple[str, bytes]]:
    """In any order: tools that are called at once wait for nothing of each other."""
    return sorted((tool.name, _json(tool.arguments.strip() or "{}") or _bytes(tool.arguments)) for tool in tools)


def _json(text: str) -> bytes:
    """An object or a list, in a fence or without, in one way of writing it; b'' for everything else: a bare word or
    number is compared as text."""
    bare = text
    if text.startswith("```") and text.endswith("```"):
        bare = text.strip("`").removeprefix("json").strip()
    if bare[:1] not in ("{", "["):
        return b""
    try:
        return msgspec.json.encode(msgspec.json.decode(bare), order="sorted")
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return b""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
