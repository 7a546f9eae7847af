"""How a question is laid out: steps, lists, tables, JSON, quotations, code; and how much of each that counts."""

from __future__ import annotations

import re
from collections.abc import Mapping

STRUCTURES: tuple[str, ...] = ("steps", "list", "table", "json", "quoted", "paragraphs", "link")
"""The order is that of the encoded features: add at the end, and eight at most."""


def has_code(question: str) -> bool:
    """Whether there is code: by itself, in fences, between backticks; or a pipeline of the shell."""
    if not any(sign in question for sign in _SIGNS_OF_CODE):
        return False
    return _CODE.search(question) is not None or ("`" in question and INLINE_CODE.search(question) is not None)


def count_steps(question: str) -> int:
    """Numbered and bulleted lines."""
    return len(_STEPS.findall(question)) + len(_BULLETS.findall(question))


def count_numbers(question: str) -> int:
    return len(_NUMBERS.findall(question))


def structure_of(question: str) -> frozenset[str]:
    """Which of STRUCTURES the question has. A pattern is only tried where one of its signs stands in the question."""
    found = []
    for name, (signs, pattern) in _PATTERNS.items():
        for sign in signs:
            if sign in question:
                if pattern.search(question):
                    found.append(name)
                break
    return frozenset(found)


INLINE_CODE = re.compile(
    r"`(?=[^`\n]{0,300}?(?:[;{}|$&<>]|\w\w\(|\(\)|::|->|=>|==| --?\w|\w\.\w+\(|= ?[\[{\"']))[^`\n]{2,300}`"
)
"""Between backticks, and by its marks no mere name."""
_SIGNS_OF_CODE = ("(", "|", ";", "{", "}", "`", "~~~", "=>", "</", "import ", "SELECT", "Error", "Exception", "class ")
# A Greek question ends with a semicolon.
_CODE = re.compile(
    r"```|~~~|\bdef \w+\(|\bclass \w+[:({]|\bfunction\b *\w*\(|=>|\bSELECT\b|^(?:from [\w.]+ )?import \w|"
    r"(?:[{}]|(?<![Ͱ-Ͽ]);)[ \t]*$|</\w+>|\bTraceback \(|\w\(\)|\bfor \w+ in \w+\(|\b[A-Z]\w*(?:Error|Exception)\b|"
    r"\| ?(?:grep|xargs|awk|sed|sort|head|tail|wc|tee|cut|uniq|jq|sh|bash|less)\b",
    re.MULTILINE,
)
# Not \s: it takes newlines, and a page of empty lines would be read again from each of them.
_STEPS = re.compile(r"^[ \t]*\d{1,3}[.)][ \t]", re.MULTILINE)
_BULLETS = re.compile(r"^[ \t]*[-*•][ \t]", re.MULTILINE)
_NUMBERS = re.compile(r"\d+(?:[.,]\d+)?")
_PATTERNS: Mapping[str, tuple[tuple[str, ...], re.Pattern[str]]] = {
    "steps": (("1.", "1)"), _STEPS),
    "list": (("- ", "* ", "• "), _BULLETS),
    "table": (("|", "\t"), re.compile(r"^[ \t]*\|[^|\n]*\||^[^\n\t]{1,80}\t[^\n\t]+\t", re.MULTILINE)),
    "json": (('":', '" :'), re.compile(r"[{\[,][ \t\n]{0,40}\"\w{1,60}\"[ \t]{0,8}:")),
    "quoted": (('"', "“", "«", "„", "> "), re.compile(r"^> |[\"“«„][^\"”»“«„\n]{20}", re.MULTILINE)),
    "paragraphs": (("\n",), re.compile(r"\n[ \t]*\n")),
    "link": (("://",), re.compile(r"https?://\w")),
}
