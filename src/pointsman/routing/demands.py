"""How much work a question asks for, whatever its verbs are: what is to be made and of how many parts, how long the
answer has to be, how hard the field is, how involved the formula. Scores, as `complexity.py` adds them up.

The weights were tuned on one half of `tests/routing/demanding_prompts.yaml` and never on the other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from .cues import MADE
from .phrases import last_named, what_is_made
from .subjects import FIELDS, SIZES, SUBJECTS, UNDERTAKINGS
from .wording import Wording, ends_of, tokens_of, word_set

PART = 0.2
"""How much more a thing is with each part that is asked for."""
FIELD, SUBJECT = 0.6, 1.3
"""A word of a field in which mistakes are easily made; and one of the mathematics that is taught late."""
INVOLVED, SIGN = 1.2, 0.08
"""A formula with a limit or a mapping in it, or an integral of more than one piece; and each sign of it."""
UNDERTAKING = 1.0
"""What is to be broken down is no errand."""
EACH_OF_THEM = 0.7
"""Something is to be said of each sentence of a text."""
MOST_PARTS, MOST_FIELDS, MOST_SUBJECTS, MOST_SIGNS = 6, 4, 2, 12
LONG_ANSWER = 400
"""Words: up to there an answer has the length that answers have."""
MOST_FOR_LENGTH = 3.3
HARDLY, PROBABLY = 0.02, 0.3
"""A probability below which nothing is looked for; and one from which a task's own signs are."""
_WORKING = ("coding", "mathematics", "analysis", "decomposition", "rationale generation")
_WRITTEN = ("writing", "analysis", "decomposition", "rationale generation", "chat")
"""Tasks in which a length that is stated is that of the answer, and not of the material."""


def work(
    wording: Wording, words: frozenset[str], tasks: Mapping[str, float], *, numbers: int, made_abroad: float = 0.0
) -> float:
    """The score of all that a question demands. `words`: those of the instruction; `tasks`: task → probability;
    `numbers`: how many there are; `made_abroad`: the size of what is to be made, in a question in another language."""
    text = ends_of(wording.instruction)
    score = _making(wording, text, words, tasks, made_abroad)
    if numbers and (length := length_asked(text)):
        score += length * sum([tasks.get(task, 0.0) for task in _WRITTEN])
    if not words.isdisjoint(UNDERTAKINGS):
        score += UNDERTAKING * tasks.get("decomposition", 0.0)
    if not words.isdisjoint(_PIECES) and _EACH.search(text):
        score += EACH_OF_THEM
    if (mathematics := tasks.get("mathematics", 0.0)) > HARDLY:
        score += mathematics * (SUBJECT * min(len(words & SUBJECTS), MOST_SUBJECTS) + formula(text))
    return score


def _making(
    wording: Wording, text: str, words: frozenset[str], tasks: Mapping[str, float], made_abroad: float
) -> float:
    """What is to be made, with its parts, and the field that it belongs to."""
    named = what_is_made(wording.tokens)
    if not named and tasks.get("decomposition", 0.0) > PROBABLY:
        named = what_is_made(_undertaken(wording))
    size = made_abroad
    if named and named[0] not in _THERE_ALREADY:
        size = max(last_named(named, _SIZES, 0.0), made_abroad)
    score = size * (1 + PART * parts_of(text)) if size else 0.0
    fields = len(words & FIELDS)
    if "-" in text:  # "Raft-based"
        fields += sum([word.partition("-")[0] in FIELDS for word in words])
    if fields:
        score += FIELD * min(fields, MOST_FIELDS)
    return score * sum([tasks.get(task, 0.0) for task in _WORKING]) if score else 0.0


def _undertaken(wording: Wording) -> Sequence[str]:
    """The words of what is to be broken down: "Break this into tasks: build an app"."""
    if wording.material:
        return tokens_of(wording.material)
    return wording.tokens[wording.tokens.index(".") + 1 :] if "." in wording.tokens else ()


def parts_of(instruction: str) -> int:
    """How many things stand in its lists: "with accounts, payments and a map" has three."""
    return min(len(_LISTED.findall(instruction)), MOST_PARTS)


def length_asked(instruction: str) -> float:
    """What the length counts that is stated for the answer: "1,500 words", "20 pages"."""
    words = 0.0
    for amount, unit in _LENGTH.findall(instruction):
        count = float(re.sub(r"[^\d]", "", amount)[:7] or 0)
        words = max(words, count * next((w for start, w in _WORDS_IN.items() if unit.lower().startswith(start)), 1.0))
    return min(max(math.log2(words / LONG_ANSWER), 0.0), MOST_FOR_LENGTH) if words else 0.0


def formula(instruction: str) -> float:
    """How involved the formulas are."""
    signs = len(_SIGNS.findall(instruction))
    involved = len(_INTEGRATED.findall(instruction)) > 1 and _INTEGRAL.search(instruction) is not None
    return (
        SIGN * min(signs, MOST_SIGNS)
        + INVOLVED * (involved or _UNENDING.search(instruction) is not None)
        + 2 * INVOLVED * (_MAPPING.search(instruction) is not None)
    )


_SIZES: Mapping[str, float] = {
    **dict.fromkeys(MADE, 0.0),
    **dict.fromkeys(word_set("patch backup table column config index entry user account page view diagram"), 0.0),
    **SIZES,
}
"""With what is quickly made: a schema of a database is no database."""
_THERE_ALREADY = word_set("the my our this that these your")
"""What is called so need not be made."""
_LISTED = re.compile(r"[,、，]\s*(?:and |und |et |y |и )?(?=\S)|\b(?:and|und|et|y|e|и|with|mit|avec|con|с)\s(?=\w)")
_LENGTH = re.compile(
    r"(\d[\d,.]{0,8}) ?-?(words?|pages?|chapters?|wörter|worte|mots|palabras|parole|palavras|слов|seiten|páginas|"
    r"pagine|страниц|minutes?(?=[ -](?:speech|talk|lecture|script|sermon|play))|字|文字|页|ページ|kapitel|chapitres?|"
    r"capítulos?)",
    re.IGNORECASE,
)
_WORDS_IN: Mapping[str, float] = {
    "page": 400, "seit": 400, "pág": 400, "pagi": 400, "стр": 400, "页": 400, "ペ": 400, "chap": 1_500, "kap": 1_500,
    "cap": 1_500, "min": 130, "字": 0.6, "文": 0.5,
}  # fmt: skip
"""The beginning of a unit → how many words one of it has."""
_EACH = re.compile(
    r"\b(?:(?:for )?(?:each|every) (?:sentence|clause|line|paragraph|point|article|section)|"
    r"(sentence|clause|line|paragraph|point) by \1)",
    re.IGNORECASE,
)
_PIECES = word_set("sentence clause line paragraph point article section")
_SIGNS = re.compile(r"[\\^_∫∮∑∏√∞→↦≤≥∈∀∃²³⁴ℝℤℕℚℂ]")
_INTEGRAL = re.compile(r"∫|\\o?int(?![a-z])|∮|[iI]nt[eé]gr|интеграл|积分|積分|적분")
_INTEGRATED = re.compile(r"\^|[²³⁴ˣ]|\b(?:ln|log|sin|cos|tan|exp|sqrt)\b|\\(?:ln|log|sin|cos|tan|exp|sqrt|frac)|[·√/]")
_UNENDING = re.compile(r"∞|\\infty|∮|\\oint|\\lim(?![a-z])|\\prod(?![a-z])|\b[fuxy]''|\bd[fuxy]/d[txy]\b")
_MAPPING = re.compile(r"[:∈] ?(?:[A-Zℝℤℕℚℂ]|\[[^\]\n]{1,12}\]|\\mathbb ?\{?[A-Z]\}?)\s?(?:→|->|↦|\\to\b)")
