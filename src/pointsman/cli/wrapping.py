"""Prose that streams to a terminal, wrapped between words. Code, tables and indented lines stay as they are."""

from __future__ import annotations

import re
from collections.abc import Callable

from rich.cells import cell_len

TAB = 8
_HEAD = 16
"""Characters at the beginning of a line that tell what kind of line it is."""

_OPENING = "「『（【《〈"
_CLOSING = "」』）】》〉、。，．：；！？ー…"
_WIDE = "\u2e80-\u303f\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uff60\U00020000-\U0003fffd"
_PIECE = re.compile(r"\n|[ \t]+|[^ \t\n]+")
_UNIT = re.compile(
    rf"[{_OPENING}]*(?:(?![{_OPENING}{_CLOSING}])[{_WIDE}]|(?:(?![{_OPENING}{_CLOSING}{_WIDE}]).)+)[{_CLOSING}]*|[{_CLOSING}]+|[{_OPENING}]+"
)
"""What no line ends within: a word, or a character of a script that writes no spaces, with the marks that belong to
it."""


class Wrapper:
    """Takes a text in pieces, wherever it is cut, and gives what can be shown: a word is held back until it has ended.
    `width` is asked at each word, since terminals are resized; None: nothing is wrapped."""

    def __init__(self, width: Callable[[], int | None]) -> None:
        self._width = width
        self._column = 0
        self._spaces = ""
        self._word = ""
        self._head = ""
        self._in_code = False
        self._seen = ""
        """The last character of a word that is too long to be held back: its beginning has been shown."""

    def feed(self, text: str) -> str:
        return "".join(self._take(piece) for piece in _PIECE.findall(text))

    def end(self) -> str:
        """What was held back."""
        return self._show_word() + self._show("")

    def _take(self, piece: str) -> str:
        if piece == "\n":
            return self._end_line()
        self._head = (self._head + piece)[:_HEAD]
        if piece[0] in " \t":
            shown = self._show_word()
            self._spaces += piece
            return shown
        units = _UNIT.findall(self._seen + self._word + piece)
        units[0] = units[0][len(self._seen) :]
        shown = ""
        for self._word in units[:-1]:
            shown += self._show_word()
        self._word = units[-1]
        if self._seen or self._is_verbatim or cell_len(self._word) > (self._width() or 0):
            seen = self._word[-1:] or self._seen
            shown += self._show_word()
            self._seen = seen
        return shown

    @property
    def _is_verbatim(self) -> bool:
        return self._in_code or self._head.startswith(("    ", "\t", "|"))

    def _end_line(self) -> str:
        shown = self.end() + "\n"
        if self._head.lstrip(" ").startswith(("```", "~~~")):
            self._in_code = not self._in_code
        self._column, self._head = 0, ""
        return shown

    def _show_word(self) -> str:
        word, self._word, goes_on, self._seen = self._word, "", bool(self._seen), ""
        return self._show(word, goes_on=goes_on) if word else ""

    def _show(self, word: str, *, goes_on: bool = False) -> str:
        """`word` after the spaces before it, or on a line of its own."""
        spaces, self._spaces = self._spaces, ""
        width = self._width()
        if width is None or self._is_verbatim:
            return spaces + word
        after = self._column + len(spaces.expandtabs(TAB)) + cell_len(word)
        breaks = after > width and self._column > 0 and not goes_on
        cells = cell_len(word) if breaks else after
        # The terminal itself breaks what is longer than its line.
        self._column = (cells - 1) % width + 1 if cells else 0
        return ("\n" if word else "") + word if breaks else spaces + word
