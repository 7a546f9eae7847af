"""Whether two answers come to the same thing, as votes are counted. It says nothing about whether they are right.

In this order: calls of tools are the same by name and arguments; JSON by its value; answers that end with their final
answer (`\\boxed{12}`, `#### 12`, "Answer: 12", "The answer is 12") by what that is; all others by their lines, to the
letter but for the first. What these rules cannot tell is taken for different: to find that two agree who do not is the
worse mistake. Sameness is transitive: whoever agrees with one of those who agree, agrees with all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from unicodedata import normalize

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
    return ours == theirs or _essence(ours) == _essence(theirs)


def final_answer(text: str) -> str:
    """What a text ends with as its one final answer; '' where it states none, or more than one."""
    boxes = [match.end() for match in _BOX.finditer(text)]
    if boxes:
        return _boxed(text, boxes[0]) if len(boxes) == 1 else ""
    stated = [match.end() for match in _STATED.finditer(text)]
    last = text[stated[0] :].strip() if len(stated) == 1 else ""
    return "" if "\n" in last else last


_BOX = re.compile(r"\\boxed\{")
_STATED = re.compile(
    r"(?:^[#*> \t]*|(?<=[.!?] ))(?:####[ \t]+(?=[-+$€£]?\.?\d)"
    r"|(?:(?:so|thus|therefore|hence),? )?(?:the |my |die |la |a |il |le )?(?:final |correct )?"
    r"(?:answer|antwort|réponse|respuesta|risposta|resposta|ответ|答案|答え)\*{0,2}"
    r"(?::\*{0,2}|：| (?:is|ist|lautet|est|es|è|é|:)(?: |:)|是|は|(?=\n)))\s*",
    re.IGNORECASE | re.MULTILINE,
)
"""At the beginning of a line or a sentence: "if x > 0 the answer is 3" is one of several, and a heading is none. With
four marks as the solutions of GSM8K end."""


def _boxed(text: str, begin: int) -> str:
    """What stands in the box; '' where more belongs to it: a sign before it, a unit or a factor after it."""
    depth, end = 1, begin
    for brace in _BRACE.finditer(text, begin):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            end = brace.start()
            break
    before = text[: begin - len("\\boxed{")].rstrip(" $([\\*")
    is_alone = not before or before[-1] in "\n=:,." or _WORD_BEFORE.search(before[-20:]) is not None
    return text[begin:end] if is_alone and not text[end + 1 :].strip(" \n.$)]\\*") else ""


_BRACE = re.compile(r"[{}]")
_WORD_BEFORE = re.compile(r"(?:^|[\s*])[^\W\d_]{2,}\s*$")


def _essence(text: str) -> str | bytes | tuple[Decimal, str]:
    """What is compared: equal where two texts come to the same."""
    if len(text) > LONGEST:
        return text
    value = _json(text)
    if value:
        return value
    bare = _bare(normalize("NFC", final_answer(text) or text).replace("\u2019", "'"))
    return _amount(bare) or _lines(bare)


def _bare(text: str) -> str:
    """Without emphasis and the signs that set formulas, without quotes around words, and the stop at the end."""
    bare = _EMPHASIS.sub(r"\1", text.strip())
    bare = _without_stop(bare)
    for pattern in _AROUND:
        found = pattern.fullmatch(bare)
        bare = _without_stop(found[1]) if found else bare
    for latex, plain in _LATEX:
        bare = bare.replace(latex, plain)
    return bare


_EMPHASIS = re.compile(r"(?<![^\s(])\*\*(?=\S)([^*\n]{1,200})(?<=\S)\*\*(?![^\s.,;:!?)])")
_AROUND = (
    re.compile(r"\$([^$\n]+)\$"),
    re.compile(r"\\\(([^\n]+)\\\)"),
    re.compile(r"`([^`\n]+)`"),
    re.compile(r"\\text\{([^{}\n]+)\}"),
    re.compile(r"[\"\u201c]([^\W\d_][^\W\d_ ]*(?: [^\W\d_]+)*)[\"\u201d]"),
    re.compile(r"\(?([A-J])\)"),
)
"""The last: a letter of several choices."""
_LATEX = (("\\$", "$"), ("\\%", "%"), ("{,}", ","), ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"))


def _without_stop(text: str) -> str:
    """Of a sentence, or a word ("Yes!"): `cd ..`, `rm -rf .` and `5!` mean what they say."""
    if text[-1:] in ".\u3002" and (text[-2:-1].isalnum() or text[-2:-1] in ")]}\"'*`$%\u201d"):
        return text[:-1]
    if text[-1:] == "!" and text[:-1].replace(" ", "").isalpha():
        return text[:-1]
    return text


_AMOUNT = re.compile(r"(\$?|[€£])([-+\u2212]?)(\$?)((?:[1-9]\d{0,2}(?:,\d{3})+|0|[1-9]\d*)?(?:\.\d+)?)(%?)")
MOST_DIGITS = 400


def _amount(bare: str) -> tuple[Decimal, str] | None:
    """'$1,250.00' → 1250, '' and '5%' → 5, '%'; None for what is more than a number, or may be no number: a version, a
    telephone number. Dollars are what is meant where nothing is said."""
    found = _AMOUNT.fullmatch(bare) if len(bare) <= MOST_DIGITS else None
    if found is None or not found[4]:
        return None
    whole, _, fraction = found[4].replace(",", "").partition(".")
    if not fraction.strip("0"):
        fraction = ""
    elif fraction.endswith("0"):
        return None
    number = Decimal(f"{'-' if found[2] in ('-', chr(0x2212)) else ''}{whole or 0}.{fraction or 0}")
    return number, found[1].replace("$", "") + found[5]


def _lines(bare: str) -> str:
    """Without the blanks at the ends of lines; those at their beginnings may matter. A word that comes first has a
    capital for that alone."""
    lines = "\n".join(line.rstrip() for line in bare.splitlines())
    return lines[:1].lower() + lines[1:] if _WORD_FIRST.match(lines) else lines


_WORD_FIRST = re.compile(r"[^\W\d_][a-zß-ÿа-я]{2,}(?![\w(=.\-])")


def _calls(tools: Sequence[ToolUse]) -> list[tuple[str, bytes]]:
    """In any order: tools that are called at once wait for nothing of each other."""
    return sorted((tool.name, _json(tool.arguments.strip() or "{}") or _bytes(tool.arguments)) for tool in tools)


def _json(text: str) -> bytes:
    """An object or a list, in a fence or without, in one way of writing it; b'' for everything else: a bare word or
    number is compared as text."""
    bare = text
    if text.startswith("```") and text.endswith("```"):
        bare = text.strip("`").removeprefix("json").removeprefix("JSON").strip()
    if bare[:1] not in ("{", "["):
        return b""
    try:
        return msgspec.json.encode(msgspec.json.decode(bare), order="sorted")
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return b""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
