"""What is asked for in other languages than English: found by the beginnings of words, weighed by what they mean
together. A verb of making says little: its object decides whether code or a text is wanted."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from .foreign_scripts import ANYWHERE, BY_WORDS
from .foreign_words import EVERYWHERE, LATIN
from .phrases import CUES_OF
from .subjects import PRODUCT, SYSTEM
from .wording import word_set

MOST_WORDS = 250
UNSURE_WORDS = 60
"""Words that are looked up; and where the language is not known, so that most of them may be English."""
MOST_CHARS = 1_600
LONGEST_PHRASE = 5
"""Words."""
HEADS_LAST = word_set("zh ja ko tr hi")
"""Languages in which what describes a thing stands before it."""

MEANS = 3.2
"""What a word counts for the task that it means by itself, in log odds before they are sharpened."""
MADE, NAMED, ONLY_MADE = 4.0, 1.4, 1.6
"""What an object counts that is to be made, and one that is only named; and a verb of making without an object."""
SIZE_OF_KIND: Mapping[str, float] = {"system": SYSTEM, "product": PRODUCT}
LOOKUP = 1.0
"""What it counts for chat that a fact is asked for."""
TOGETHER = 3.0
"""What a verb and what it asks for count, neither of which means the task by itself."""


class ForeignCues(Struct, frozen=True):
    """What a question in another language says."""

    scores: Mapping[str, float]
    """Task → the sum of its weights."""
    hard: int = 0
    """Different words of a hard question."""
    demanding: int = 0
    """Words that ask for more than one step: a design, each of several things."""
    proof: bool = False
    size: float = 0.0
    """Of what is to be made (`subjects.SIZES`)."""


NOTHING = ForeignCues({})


def foreign_cues(instruction: str, tokens: Sequence[str], language: str, *, numbers: int) -> ForeignCues:
    """The cues of an instruction, whose words are `tokens` (`wording.tokens_of`); none where it is English.

    `language`: as `languages.language_of` tells it; where it is not known, all that write Latin letters are tried.
    """
    if language == "en" or not tokens:
        return NOTHING
    if language in ANYWHERE:
        return _weighed(_kinds_anywhere(instruction, language), language, numbers)
    cues = _weighed(_kinds(tokens, language), language, numbers)
    return cues if cues.scores or not language else _weighed(_kinds(tokens, ""), "", numbers)


def _weighed(found: Iterable[tuple[str, str]], language: str, numbers: int) -> ForeignCues:
    """What (kind, word) say together, in the order in which they stand."""
    kinds = [kind for kind, _ in dict.fromkeys(found)]
    known = frozenset(kinds)
    scores: defaultdict[str, float] = defaultdict(float, {kind: MEANS for kind in kinds if kind not in _NO_TASK})
    makes = not known.isdisjoint(("make", "want", "design"))
    thing = _object(kinds, heads_last=language in HEADS_LAST)
    if thing and (makes or thing not in SIZE_OF_KIND):
        scores[_OBJECTS[thing]] += MADE if makes else NAMED
    elif "lookup" in known:
        scores["chat"] += LOOKUP
    elif "make" in known:
        scores["writing"] += ONLY_MADE
    for task, together in _TOGETHER.items():
        if together <= known:
            scores[task] += TOGETHER
    if numbers and "how_many" in known:
        scores["mathematics"] += TOGETHER
    return ForeignCues(
        scores,
        hard=kinds.count("hard"),
        demanding=kinds.count("design"),
        proof="proof" in known,
        size=next((size for kind, size in SIZE_OF_KIND.items() if makes and kind in known), 0.0),
    )


def _object(kinds: Sequence[str], *, heads_last: bool) -> str:
    """The kind of the object that decides: the first one, or the last one of its clause ("发送邮件的脚本")."""
    thing = ""
    for kind in kinds:
        if kind in _OBJECTS:
            thing = kind
            if not heads_last:
                break
        elif kind == "end" and thing:
            break
    return thing


def _kinds(tokens: Sequence[str], language: str) -> Iterator[tuple[str, str]]:
    """(kind, beginning) of the words, in the order in which they stand."""
    by_letters = _BY_WORDS.get(language, _BY_WORDS[""])
    for place, token in enumerate(tokens[: MOST_WORDS if language else UNSURE_WORDS]):
        if token == ".":
            yield "end", str(place)
        for first, beginning, kind in by_letters.get(token[:2], ()):
            if not token.startswith(first):
                continue
            if first is beginning:
                # An English word, which `phrases` reads, may begin like another language's.
                if language or token not in CUES_OF:
                    yield kind, beginning
            elif f"{' '.join(tokens[place : place + LONGEST_PHRASE])} ".startswith(beginning):
                yield kind, beginning


def _kinds_anywhere(instruction: str, language: str) -> Iterator[tuple[str, str]]:
    """The same for a language whose words may stand anywhere."""
    text = f" {instruction[:MOST_CHARS].lower()} "
    found = [(text.find(word), kind, word) for word, kind in _ANYWHERE[language]]
    ends = ((end.start(), "end", str(end.start())) for end in _CLAUSE_ENDS.finditer(text))
    yield from ((kind, word) for place, kind, word in sorted([*found, *ends]) if place >= 0)


_OBJECTS = {"program": "coding", "system": "coding", "product": "coding", "piece": "writing", "summary": "summary"}
_NO_TASK = word_set(
    "make want program piece say tongue find entity positive negative how_many hard design proof system product "
    "lookup end"
)
_CLAUSE_ENDS = re.compile("[，。；,;:：\\n]")
_TOGETHER = {
    "translation": frozenset({"say", "tongue"}),
    "extraction": frozenset({"find", "entity"}),
    "classification": frozenset({"positive", "negative"}),
}


def _pairs(kinds: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(word, kind) of a language, and those that all languages write alike."""
    return ((word, kind) for table in (kinds, EVERYWHERE) for kind, words in table.items() for word in words.split("|"))


def _by_first_letters(*languages: Mapping[str, str]) -> dict[str, tuple[tuple[str, str, str], ...]]:
    """The first two letters of a word → the beginnings that have them: the first word of each, all of it, its kind."""
    index: dict[str, dict[tuple[str, str, str], None]] = defaultdict(dict)
    for kinds in languages:
        for beginning, kind in _pairs(kinds):
            first = beginning.split(" ", 1)[0] if " " in beginning else beginning
            index[beginning[:2]][first, beginning, kind] = None
    return {letters: tuple(beginnings) for letters, beginnings in index.items()}


_BY_WORDS = {language: _by_first_letters(kinds) for language, kinds in {**LATIN, **BY_WORDS}.items()}
_BY_WORDS[""] = _by_first_letters(*LATIN.values())
_ANYWHERE = {language: tuple(_pairs(kinds)) for language, kinds in ANYWHERE.items()}
