"""Text to the numbers of its word pieces, by the vocabulary of uncased BERT: the keys of the table of vectors.

Words are looked up whole, and cut greedily into the longest known pieces where they are not in the vocabulary (Wu et
al., "Google's Neural Machine Translation System", 2016). The ids are those of BERT's own tokenizer but for two cases: a
word that no pieces make up is left out, where BERT's has [UNK], since it says nothing; and a symbol such as × or €
stands alone, where BERT's takes it for a part of the word that it touches.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

LONGEST_WORD = 100
"""Characters; a longer one is left out, as BERT's tokenizer does."""
REMEMBERED = 20_000
"""Words in pieces that a tokenizer keeps."""


class WordPiece:
    """A tokenizer over `vocabulary`, whose places are the ids; a piece inside a word begins with ##."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        places = {piece: place for place, piece in enumerate(vocabulary) if not _is_special(piece)}
        self._starts = {piece: place for piece, place in places.items() if not piece.startswith("##")}
        self._insides = {
            piece[2:]: place for piece, place in places.items() if piece.startswith("##") and piece != "##"
        }
        self._longest = max(map(len, places), default=0)
        self._known: dict[str, tuple[int, ...]] = {piece: (place,) for piece, place in self._starts.items()}
        self._full = len(self._known) + REMEMBERED

    def ids(self, text: str, at_most: int) -> list[int]:
        """The ids of the pieces of `text`, the first `at_most` of them."""
        known = self._known
        ids: list[int] = []
        for word in split(text):
            pieces = known.get(word)
            if pieces is None:
                pieces = self._cut(word)
                if len(known) < self._full and len(word) <= LONGEST_WORD:
                    known[word] = pieces
            ids += pieces
            if len(ids) >= at_most:
                return ids[:at_most]
        return ids

    def _cut(self, word: str) -> tuple[int, ...]:
        if len(word) > LONGEST_WORD:
            return ()
        pieces: list[int] = []
        start, places = 0, self._starts
        while start < len(word):
            for end in range(min(len(word), start + self._longest), start, -1):
                place = places.get(word[start:end])
                if place is not None:
                    pieces.append(place)
                    break
            else:
                return ()
            start, places = end, self._insides
        return tuple(pieces)


def split(text: str) -> list[str]:
    """Words in lower case without accents, each mark and each Chinese, Japanese or Korean character alone."""
    lowered = text.lower()
    if lowered.isascii():
        return _ASCII_WORD.findall(lowered)
    return _WORD.findall("".join(map(_bare, unicodedata.normalize("NFD", lowered))))


_ASCII_WORD = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")
_WORD = re.compile(r"[^\W_]+|[^\s\w]|_")


@lru_cache(maxsize=4096)
def _bare(letter: str) -> str:
    """Nothing for an accent that was taken off its letter, space around what stands alone, else the letter."""
    if unicodedata.category(letter) == "Mn":
        return ""
    return f" {letter} " if "\u2e80" <= letter <= "\u9fff" or "\uac00" <= letter <= "\ud7af" else letter


def _is_special(piece: str) -> bool:
    """[PAD], [UNK] and their like, and places that a shipped vocabulary leaves blank."""
    return not piece or (piece.startswith("[") and len(piece) > 1)
