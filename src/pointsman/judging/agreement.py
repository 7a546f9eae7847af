"""Where answers agree and where they differ. It says nothing about which of them is right."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

SHORT_WORDS = 12
ALIKE = 0.8
RULE = (
    f"Answers of up to {SHORT_WORDS} words agree when their words are the same, whatever their case and punctuation; "
    f"longer ones when they share at least {ALIKE:.0%} of their words, in any order. That answers agree does not make "
    "them right."
)
MOST_COMPARED_LINES = 2000
MOST_SHOWN_LINES = 200


class Cluster(Struct, frozen=True):
    """Answers that agree; `text` is the first of them, word for word."""

    text: str
    engines: tuple[str, ...]


class Agreement(Struct, frozen=True):
    """`clusters`, the largest first; among equals the one that stood first."""

    clusters: tuple[Cluster, ...] = ()
    compared: tuple[str, ...] = ()
    """The two engines whose answers the diff compares; empty where all answers are the same."""
    shared: float | None = None
    """The part of their words that these two share, 0 to 1; None where one of them is short."""
    diff: tuple[str, ...] = ()
    """The lines of a unified diff of these two; empty where both are short enough to be read side by side."""

    @property
    def unanimous(self) -> bool:
        """At least two answers, and all agree."""
        return len(self.clusters) == 1 and len(self.clusters[0].engines) > 1


def agreement(answers: Sequence[tuple[str, str]]) -> Agreement:
    """(engine, answer) pairs → which of them agree.

    Each answer joins the first cluster whose first answer it agrees with, in the order given, so a small change of one
    answer never moves the others.
    """
    found: list[_Found] = []
    for engine, text in answers:
        words = tuple(_words(text))
        cluster = next((c for c in found if _agree(c.words, words)), None)
        if cluster is None:
            found.append(_Found(engine, text, words))
        else:
            cluster.members.append((engine, text))
    found.sort(key=lambda cluster: -len(cluster.members))
    clusters = tuple(Cluster(c.members[0][1], tuple(engine for engine, _ in c.members)) for c in found)
    pair = _two_that_differ(found)
    if pair is None:
        return Agreement(clusters)
    (one, ours), (other, theirs) = pair
    left, right = _words(ours), _words(theirs)
    return Agreement(
        clusters,
        compared=(one, other),
        shared=_shared(left, right) if min(len(left), len(right)) > SHORT_WORDS else None,
        diff=_diff(one, ours, other, theirs),
    )


class _Found:
    """A cluster that grows."""

    def __init__(self, engine: str, text: str, words: tuple[str, ...]) -> None:
        self.words = words
        self.members = [(engine, text)]


_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")
"""Between white space; in Chinese and Japanese, which write none, each character."""
_AROUND = ".,;:!?\"'`*_()[]{}<>\u2018\u2019\u201c\u201d\u3002\uff0c\u3001\uff01\uff1f"


def _words(text: str) -> list[str]:
    """Punctuation around words falls away; what is inside one ('3.14', '-5', '$7') counts. Where nothing else is left
    ('?', '…'), the text stands for itself."""
    words = [word for raw in _WORD.findall(text.casefold()) if (word := raw.strip(_AROUND))]
    return words or text.split()


def _agree(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    if min(len(ours), len(theirs)) <= SHORT_WORDS:
        return ours == theirs
    return _shared(ours, theirs) >= ALIKE


def _shared(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """Twice the words in common over all words, each counted as often as it stands: Dice's coefficient."""
    both = (Counter(ours) & Counter(theirs)).total()
    return 2 * both / (len(ours) + len(theirs)) if ours or theirs else 1.0


def _two_that_differ(found: Sequence[_Found]) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """Of the two largest clusters; where all agree, the first answer and the first that is not the same text."""
    if len(found) > 1:
        return found[0].members[0], found[1].members[0]
    if not found:
        return None
    first = found[0].members[0]
    other = next((member for member in found[0].members if member[1].strip() != first[1].strip()), None)
    return (first, other) if other else None


def _diff(one: str, ours: str, other: str, theirs: str) -> tuple[str, ...]:
    left, right = _lines(ours), _lines(theirs)
    if len(left) <= 1 and len(right) <= 1:
        return ()
    cut = max(len(left), len(right)) > MOST_COMPARED_LINES
    left, right = left[:MOST_COMPARED_LINES], right[:MOST_COMPARED_LINES]
    lines = list(difflib.unified_diff(left, right, one, other, lineterm="", n=2))
    shown = lines[:MOST_SHOWN_LINES]
    if len(lines) > len(shown):
        shown.append(f"… {len(lines) - len(shown)} more lines")
    elif cut:
        shown.append(f"… only the first {MOST_COMPARED_LINES} lines of each were compared")
    return tuple(shown)


_LONG_LINE = 100
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])")


def _lines(text: str) -> list[str]:
    """Lines without the white space at their ends; a paragraph on one line falls into its sentences."""
    return [piece for line in text.strip().splitlines() for piece in _pieces(line.rstrip())]


def _pieces(line: str) -> Iterable[str]:
    return [piece for piece in _SENTENCE_END.split(line) if piece] if len(line) > _LONG_LINE else [line]
