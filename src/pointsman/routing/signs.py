"""What tells a task without a word that asks for it: files that are named, amounts and rates, formulas, the shape of an
answer, two words that are held against each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .wording import Wording, ends_of, word_set

FILE = 2.4
"""What the name of a file of code counts for coding."""
FORMULA, CERTAIN_FORMULA = 2.6, 4.0
"""What a formula counts for mathematics, and one that stands nowhere else."""
AMOUNT, RATE = 1.2, 0.8
"""What an amount with its unit counts for mathematics where something is asked of it, and a word such as "speed"."""
SHAPE = 2.6
"""What the shape of an answer counts for extraction where a text is given."""
TWO_WORDS = 1.2
"""What two short quoted words count for chat, where the difference between them is asked for."""


def signs_of(wording: Wording, *, numbers: int, json: bool) -> dict[str, float]:
    """Task → weight, as `phrases.scores_of` gives it. `numbers`: how many there are; `json`: its keys stand in the
    question."""
    text, tokens = ends_of(wording.instruction), wording.tokens
    scores: dict[str, float] = {}
    if _DOTTED.search(text) and any(map(names_code, tokens)):
        scores["coding"] = FILE
    mathematics = _formula(text, numbers) + (_amounts(text, tokens) if numbers > 1 else 0.0)
    if mathematics:
        scores["mathematics"] = mathematics
    if json and not _GIVES.isdisjoint(tokens) and not _FROM.isdisjoint(tokens):
        scores["extraction"] = SHAPE
    return scores


def names_code(token: str) -> bool:
    """Whether a word is the name of a file of code: "app.ts", not "3.5", "e.g" or "node.js"."""
    stem, _, suffix = token.rpartition(".")
    return suffix in _SUFFIXES and len(stem) + len(suffix) > MOST_OF_AN_ABBREVIATION and token not in _NO_FILES


def holds_words_together(wording: Wording) -> bool:
    """Whether two words are quoted, with one between: "'ser' y 'estar'", "'affect' and 'effect'"."""
    tokens = wording.tokens
    if tokens.count("_") != QUOTED_WORDS:
        return False
    place = tokens.index("_")
    if tokens[place + 2 : place + 3] != ("_",):
        return False
    words = wording.material.split("\n")[:QUOTED_WORDS]
    return all(len(word) <= LONGEST_WORD and word[:1].islower() for word in words)


QUOTED_WORDS, LONGEST_WORD = 2, 20
"""Longer quotations, and names, are compared as what they stand for."""
MOST_OF_AN_ABBREVIATION = 3
"""Letters."""


def _formula(text: str, numbers: int) -> float:
    """Each pattern is only tried where it may fit: most prompts have no formula."""
    has_tex = "\\" in text
    sign = None if text.isascii() else _SIGN.search(text)
    if (
        (sign and _CERTAIN_SIGN.search(text))
        or (has_tex and _CERTAIN_TEX.search(text))
        or (("→" in text or "->" in text or has_tex) and _MAPPING.search(text))
    ):
        return CERTAIN_FORMULA
    if sign or ((numbers or has_tex or "$" in text) and _FORMULA.search(text)):
        return FORMULA
    return 0.0


def _amounts(text: str, tokens: Sequence[str]) -> float:
    words = frozenset(tokens)
    if words.isdisjoint(_ASKS):
        return 0.0
    amounts = len(_AMOUNT.findall(text))
    rates = min(len(words & _RATES), 2)
    return AMOUNT * min(amounts, 2) + RATE * rates if amounts else 0.0


_CERTAIN_SIGN = re.compile(r"[∫∮∑∏ℝℤℕℚℂ∇∂]")
_SIGN = re.compile(r"[∫∮∑∏ℝℤℕℚℂ∇∂√≤≥∈∀∃]")
_CERTAIN_TEX = re.compile(r"\\(?:o?int|sum|prod|lim|frac|sqrt|infty|mathbb|partial|nabla|le|ge|cdot)(?![a-z])")
_MAPPING = re.compile(r"\b[a-zφψ] ?: ?(?:[A-Z]|\[[^\]\n]{1,12}\])\^?\w? ?(?:→|->|\\to\b)")
_FORMULA = re.compile(
    r"\d ?[+*×÷^/] ?\d|\d (?:-|plus|minus|times) \d|\b[xyzn] ?(?:\^|=|\*\*) ?-?\d|\d[xyz]\b|"
    r"\d(?:%| percent| %) of \d|\$[a-z]\b"
)
_AMOUNT = re.compile(
    r"[$€£]\s?\d|\d\s?(?:%|km/h|kmh|mph|m/s|[kcm]?m\b|[km]?g\b|lbs?\b|ml\b|l\b|(?:miles?|met(?:er|re)s?|feet|inches|"
    r"lit(?:er|re)s?|hours?|minutes?|seconds?|days?|weeks?|months?|years?|percent|dollars?|euros?|cents?|pounds?|"
    r"workers?|people|apples|marbles|pages|times)\b)"
)
_ASKS = word_set("how what when which find percentage")
_RATES = word_set(
    "speed rate rates discount discounted reduced increased rose fell interest average total altogether together left "
    "remain remaining keep keeps cost costs share shares half third quarter twice apart towards toward fill fills "
    "drives travels leaves meet profit each per distance sale ratio older younger"
)
_GIVES = word_set("return give answer output extract respond produce fill write reply")
_FROM = word_set("from for below following out of this")
_DOTTED = re.compile(r"\.[a-z]")
_SUFFIXES = word_set(
    "py js ts tsx jsx mjs java go rs rb c cpp cc h hpp cs php swift kt scala sh bash sql html css scss vue svelte toml "
    "yaml yml json lock gradle tf ini ipynb lua hs ml ex exs ps1 proto dart jl"
)
_NO_FILES = word_set("node.js vue.js next.js three.js d3.js express.js nuxt.js asp.net")
