"""The words of a prompt, and how much each of them, and each pair, says: TF-IDF in plain dicts and numpy."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

HEAD, TAIL = 6_000, 2_000
"""Characters that are read of the beginning and the end of a text: beyond them it is as if they were not there."""


def clip_text(text: str) -> str:
    """`text`, or its beginning and its end on two lines: what reads it is bounded, however long it is."""
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"


def words(text: str) -> list[str]:
    """The words and numbers of a text in lower case, in their order, marks left out."""
    lowered = clip_text(text).lower()
    return (_ASCII_WORD if lowered.isascii() else _WORD).findall(lowered)


class Terms:
    """A vocabulary of words and of pairs of words that follow each other, with the weight of each.

    A document's row is sublinear TF-IDF of unit length: (1 + ln count) · idf, divided by its norm
    (Salton and Buckley, "Term-weighting approaches in automatic text retrieval", 1988).
    """

    def __init__(self, terms: Sequence[str], idf: NDArray[np.float32]) -> None:
        """`terms`: words and "first second" pairs. `idf` (len(terms),): the weight of each."""
        self.terms = tuple(terms)
        self.idf = idf
        self._column = {term: column for column, term in enumerate(self.terms)}

    @classmethod
    def of(cls, documents: Sequence[Sequence[str]], *, in_documents: int, at_most: int) -> Terms:
        """The terms that stand in at least `in_documents` of the documents, the most widespread `at_most` of them.

        idf = ln((1 + documents) / (1 + documents with the term)) + 1.
        """
        spread: Counter[str] = Counter()
        for document in documents:
            spread.update(set(_terms(document)))
        common = [(-count, term) for term, count in spread.items() if count >= in_documents]
        kept = [term for _, term in sorted(common)[:at_most]]
        counts = np.array([spread[term] for term in kept], np.float64)
        return cls(kept, (np.log((1 + len(documents)) / (1 + counts)) + 1).astype(np.float32))

    def __len__(self) -> int:
        return len(self.terms)

    def row(self, document: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """The columns of a document's known terms and their weights, (k,) both; empty where none is known."""
        column_of = self._column.get
        counts: dict[int, int] = {}
        for term in _terms(document):
            column = column_of(term)
            if column is not None:
                counts[column] = counts.get(column, 0) + 1
        columns = np.fromiter(counts, np.intp, len(counts))
        if not counts:
            return columns, np.zeros(0, np.float32)
        weights = (1 + np.log(np.fromiter(counts.values(), np.float32, len(counts)))) * self.idf[columns]
        return columns, weights / math.sqrt(float(weights @ weights))

    def dot(self, document: Sequence[str], matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """A document's row times `matrix` (len(self), k): (k,), zeros where no term is known."""
        columns, weights = self.row(document)
        return weights @ matrix[columns]


_ASCII_WORD = re.compile(r"[a-z0-9]+")
_WORD = re.compile(r"[^\W_]+")


def _terms(document: Sequence[str]) -> Iterator[str]:
    yield from document
    for first, second in pairwise(document):
        yield f"{first} {second}"
