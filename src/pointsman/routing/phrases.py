"""Phrases found in a text, by its words: no regular expression, so the time is known whatever is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from msgspec import Struct

from .cues import ENDS_WHAT_IS_MADE, MADE, MAKING, PHRASES, POLITE
from .wording import word_set

Value = TypeVar("Value")

GAP = 6
"""Words that `..` may stand for."""
MOST_PLACES = 8
"""A word that is repeated is looked at so often."""


class Cue(Struct, frozen=True, eq=False):
    """One phrase, and what it says."""

    task: str
    weight: float
    begins: bool
    """It must begin a sentence."""
    rest: tuple[tuple[bool, frozenset[str]], ...]
    """What follows its first word: whether words may stand between, and the next word's forms."""


def scores_of(tokens: Sequence[str]) -> dict[str, float]:
    """Task → the sum of the weights of its cues in a text, for the tasks that have any; each cue counts once.

    `tokens`: the words of the text in small letters, with "." and "?" at the ends of sentences (`wording.tokens_of`).
    """
    words = set(tokens)
    places, beginnings = _places(tokens)
    scores: dict[str, float] = {}
    found: set[Cue] = set()
    for word, its_places in places.items():
        for cue in CUES_OF[word]:
            if (cue.rest and words.isdisjoint(cue.rest[-1][1])) or (cue.begins and beginnings.isdisjoint(its_places)):
                continue
            if cue not in found and _stands(cue, tokens, its_places, beginnings):
                found.add(cue)
                scores[cue.task] = scores.get(cue.task, 0.0) + cue.weight
    return scores


def made(tokens: Sequence[str]) -> str:
    """The task that is meant by what the first verb of making has as its object; '' for none.

    "Write an SQL query that finds poems" is coding, and "Write a poem about SQL" is writing.
    """
    return last_named(what_is_made(tokens), MADE, "")


def last_named(words: Sequence[str], table: Mapping[str, Value], nothing: Value) -> Value:
    """What a table says of the last of the words, or pairs of words, that it has: the last noun decides, so the index
    of a database is an index."""
    value = nothing
    for before, word in zip(("", *words), words, strict=False):
        value = table.get(f"{before} {word}", table.get(word, value))
    return value


def what_is_made(tokens: Sequence[str]) -> Sequence[str]:
    """The words of the object of the first verb of making, where that begins the question; () for none."""
    for verb, token in enumerate(tokens[:MOST_BEFORE]):
        if token in MAKING:
            return _object(tokens[verb + 1 : verb + MOST_WITHIN])
        if token not in POLITE:
            break
    return ()


def _object(tokens: Sequence[str]) -> Sequence[str]:
    """The words up to the end of what is made; () for calls, which are formatted."""
    for place, token in enumerate(tokens):
        if token in ENDS_WHAT_IS_MADE:
            return () if token in _CALLS else tokens[:place]
    return tokens


MOST_BEFORE, MOST_WITHIN = 8, 9
"""Words before a verb of making, and in what it makes."""
_CALLS = word_set("call calls invocation invocations arguments")


def _places(tokens: Sequence[str]) -> tuple[dict[str, list[int]], set[int]]:
    """Where each word stands that begins a cue; and the places at which a sentence begins, politeness passed over."""
    places: dict[str, list[int]] = {}
    beginnings: set[int] = set()
    is_beginning = True
    for place, token in enumerate(tokens):
        if token in CUES_OF:
            places.setdefault(token, []).append(place)
        if is_beginning:
            beginnings.add(place)
            is_beginning = token in POLITE
        if token in _ENDS:
            is_beginning = True
    return places, beginnings


def _stands(cue: Cue, tokens: Sequence[str], places: Sequence[int], beginnings: set[int]) -> bool:
    for place in places[:MOST_PLACES]:
        if (not cue.begins or place in beginnings) and _follows(cue.rest, tokens, place + 1):
            return True
    return False


def _follows(rest: tuple[tuple[bool, frozenset[str]], ...], tokens: Sequence[str], place: int) -> bool:
    """Whether the rest of a phrase stands at `place`, within the sentence."""
    if not rest:
        return True
    may_skip, forms = rest[0]
    for here in range(place, min(place + (GAP if may_skip else 0) + 1, len(tokens))):
        token = tokens[here]
        if token in forms and _follows(rest[1:], tokens, here + 1):
            return True
        if token in _ENDS:
            return False
    return False


_ENDS = frozenset(".?")


def _read(task: str, phrase: str, weight: float) -> tuple[frozenset[str], Cue]:
    """The forms of a phrase's first word, and the cue."""
    groups: list[tuple[bool, frozenset[str]]] = []
    may_skip = False
    for group in phrase.removeprefix("> ").split(" "):
        if group == "..":
            may_skip = True
            continue
        groups.append((may_skip, frozenset(group.split("|"))))
        may_skip = False
    return groups[0][1], Cue(task, weight, phrase.startswith("> "), tuple(groups[1:]))


def _index() -> dict[str, tuple[Cue, ...]]:
    index: dict[str, list[Cue]] = {}
    for task, phrases in PHRASES.items():
        for phrase, weight in phrases.items():
            forms, cue = _read(task, phrase, weight)
            for form in forms:
                index.setdefault(form, []).append(cue)
    return {word: tuple(cues) for word, cues in index.items()}


CUES_OF = _index()
"""Word → the cues that begin with it."""
