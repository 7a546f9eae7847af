"""What others wrote, as text and nothing else: it moves no cursor, sets no colour, turns no reading order."""

from __future__ import annotations

import re

ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x00-\x1f\x7f-\x9f]*(?:\x07|\x1b\\|\x9c)"  # strings: titles, links
    r"|\x1b[ -/]*(?![\[\]PX^_])[0-~]"  # single escapes: reset, character sets
)
"""Whole escape sequences."""
UNFINISHED = re.compile(
    r"(?:(?:\x1b\[|\x9b)[0-?]*[ -/]*"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x00-\x1f\x7f-\x9f]*\x1b?"
    r"|\x1b[ -/]*|\r)\Z"
)
"""What may be the beginning of one, or of a line end, at the end of a text that goes on."""


def plain_text(text: str) -> str:
    """`text` without control characters; of those, line ends (each made '\\n') and tabs stay.

    Whole escape sequences go (colours, titles, links), and so do marks of direction and characters without a width,
    which can make text read otherwise than it is. A lone surrogate, which no file can hold, becomes U+FFFD.
    """
    text = ESCAPES.sub("", _LINE_ENDS.sub("\n", text))
    return _SURROGATES.sub("\ufffd", _UNSEEN.sub("", text))


def plain_line(text: str, limit: int | None = None) -> str:
    """The same on one line, every run of white space one space, cut to `limit` characters with an ellipsis."""
    line = " ".join(plain_text(text).split())
    return line if limit is None or len(line) <= limit else line[: limit - 1].rstrip() + "…"


def ascii_escaped(json: str) -> str:
    """JSON in which what `plain_text` would take out stands as \\u escapes: the same value, safe to print."""
    return _UNSEEN.sub(_as_escape, json)


_LINE_ENDS = re.compile(r"\r\n|[\r\x85\u2028\u2029]")
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")


def _as_escape(match: re.Match[str]) -> str:
    """A character as JSON escapes it: UTF-16 units in hexadecimal."""
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
