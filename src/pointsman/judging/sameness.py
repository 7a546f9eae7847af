"""Whether two answers come to the same thing, as votes are counted. It says nothing about whether they are right.

In this order: calls of tools are the same by name and arguments; JSON by its value; answers of which one states a final
answer (`\\boxed{12}`, `#### 12`, "Answer: 12", "the answer is 12") by what is stated; all others by their words
(`agreement.RULE`). What these rules cannot tell is taken for different: two essays with the same thesis are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import msgspec

from ..core import Answer, ToolUse
from .agreement import agree


def says_the_same(one: Answer, other: Answer) -> bool:
    """Two that say nothing do not agree."""
    if one.tools or other.tools:
        return _calls(one.tools) == _calls(other.tools)
    if one.refusal or other.refusal:
        return bool(one.refusal) and bool(other.refusal)
    ours, theirs = one.text.strip(), other.text.strip()
    if not ours or not theirs:
        return False
    our_value, their_value = _json(ours), _json(theirs)
    if our_value is not None and their_value is not None:
        return bool(our_value == their_value)
    our_last, their_last = final_answer(ours), final_answer(theirs)
    if not our_last and not their_last:
        return agree(ours, theirs)
    # One that states its final answer, and one that is nothing else: what is longer does not agree with it by chance.
    return _is_one_thing(our_last or ours, their_last or theirs)


def final_answer(text: str) -> str:
    """What a text states as its final answer, the last one of several; '' where it states none."""
    boxed = _boxed(text)
    if boxed:
        return boxed
    last = max((match.end() for match in _STATES.finditer(text)), default=None)
    if last is None:
        return ""
    line = text[last:].split("\n", 1)[0].rstrip()
    return _bare(_SENTENCE_END.split(line, maxsplit=1)[0])


_STATES = re.compile(r"^#{4}\s*+(?=\S)|\b(?:final )?answer(?: is:?+|\*{0,2}:\*{0,2})[\s*]*+(?=\S)", re.I | re.M)
"""`#### 12`, as the solutions of GSM8K end; "Answer: 12", "**Final answer:** 12", "the answer is 12"."""
_SENTENCE_END = re.compile(r"[.!](?=\s+[A-Z]|$)")


def _boxed(text: str) -> str:
    """What stands in the last `\\boxed{…}`, whatever braces are in it."""
    begin = text.rfind("\\boxed{")
    if begin < 0:
        return ""
    begin += len("\\boxed{")
    depth = 1
    for place in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return _bare(text[begin:place])
    return ""


def _bare(stated: str) -> str:
    return stated.strip().strip("*$`").strip()


def _is_one_thing(one: str, other: str) -> bool:
    ours, theirs = _number(one), _number(other)
    if ours is not None and theirs is not None:
        return ours == theirs
    return agree(one, other)


_NUMBER = re.compile(r"[$€£]?\s*(-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?)\s*%?\.?")


def _number(text: str) -> Decimal | None:
    """'$1,250.00' → 1250; None for what is more than a number."""
    found = _NUMBER.fullmatch(_bare(text))
    if found is None:
        return None
    try:
        return Decimal(found[1].replace(",", ""))
    except InvalidOperation:
        return None


def _calls(tools: Sequence[ToolUse]) -> list[tuple[str, object]]:
    """In any order: tools that are called at once wait for nothing of each other."""
    calls = [(tool.name, _json(tool.arguments) or tool.arguments) for tool in tools]
    return sorted(calls, key=repr)


def _json(text: str) -> object:
    """An object or a list, in a fence or without; None for everything else: a bare word or number is compared as
    text."""
    bare = text
    if text.startswith("```") and text.endswith("```"):
        bare = text.strip("`").removeprefix("json").strip()
    if bare[:1] not in ("{", "["):
        return None
    try:
        return msgspec.json.decode(bare)
    except (msgspec.DecodeError, RecursionError):
        return None
