"""What can be counted in a prompt: sizes, answer options, numbers, marks, kinds of words, scripts.

Each count has a name, and a range in which it is kept when a reading is stored (`FEATURES`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .words import clip_text


class Feature(NamedTuple):
    """One of the numbers that `lexical` gives."""

    name: str
    highest: float
    """About the largest value that occurs; the lowest is 0. Beyond it a stored reading knows no difference."""
    small: bool = False
    """Mostly small shares, of which a stored reading keeps the square root: finer near 0."""


_WORDS_OF: dict[str, str] = {
    "negation": "not except least false incorrect never neither nor without",
    "which": "which",
    "what": "what",
    "who": "who whom whose",
    "when": "when year century",
    "where": "where country city state",
    "why": "why reason because cause",
    "how": "how",
    "how many": "many much",
    "statements": "true statement statements",
    "best": "best most primarily mainly likely",
    "following": "following",
    "calculate": "calculate compute determine evaluate solve estimate",
    "find": "find",
    "prove": "prove show derive",
    "probability": "probability random expected variance distribution",
    "program": "def return python function code program string list array integer",
    "suppose": "let suppose assume given consider",
    "if": "if then",
    "amounts": "each per total left more than twice half times every altogether remaining",
    "write": "write create generate compose describe sentence",
    "explain": "explain discuss analyze compare",
    "all of these": "above none both all",
    "passage": "according passage author text",
    "they": "he she his her they",
    "you": "i my me you your",
    "the": "the",
    "of": "of",
    "is": "is are was were",
    "and": "and or",
    "algebra": "theorem group ring field vector matrix polynomial graph set integral derivative",
    "law": "law court legal defendant plaintiff contract act",
    "medicine": "patient disease treatment symptoms drug clinical",
    "physics": "energy force mass velocity charge temperature pressure",
    "economics": "price cost market demand tax income bank",
}
"""Kinds of words → the words. What they are was chosen by hand."""
_SCRIPTS: dict[str, tuple[int, int]] = {
    "Latin beyond ASCII": (0x80, 0x370),
    "Greek to Armenian": (0x370, 0x590),
    "Hebrew to Georgian": (0x590, 0x1100),
    "marks and symbols": (0x1100, 0x2E80),
    "CJK and emoji": (0x2E80, 0x110000),
}
"""Scripts → their code points, from the first to before the last. Roughly: blocks lie as Unicode grew."""
_MARKS = "?$\\=^%({\":;,_'-/*"

FEATURES: tuple[Feature, ...] = (
    Feature("log characters", 14),
    Feature("log words", 8),
    Feature("letters in a word", 16),
    Feature("log lines", 8),
    Feature("log characters of the question", 10),
    Feature("log sentences", 6),
    Feature("hundreds of characters in a sentence", 6),
    Feature("options", 12),
    Feature("log characters in an option", 7),
    Feature("log spread of the options' lengths", 6),
    Feature("relative spread of the options' lengths", 2),
    Feature("log characters of the longest option", 7),
    Feature("share of options that are numbers", 1),
    Feature("share of options of one word", 1),
    Feature("share of digits", 1, small=True),
    Feature("log numbers", 7),
    Feature("log numbers with a point", 6),
    Feature("log largest number", 37),
    Feature("share of characters beyond ASCII", 1, small=True),
    Feature("share of words in capitals", 1, small=True),
    Feature("share of distinct words", 1),
    Feature("distinct words by words^0.7", 4),
    Feature("question ends with ?", 1),
    Feature("question ends with :", 1),
    Feature("question ends with .", 1),
    Feature("log commands of TeX", 7),
    Feature("code", 1),
    Feature("begins with Q:", 1),
    Feature("letters of the longest word", 40),
    *(Feature(f"log marks {mark}", 7) for mark in _MARKS),
    *(Feature(f"log words of {kind}", 6) for kind in _WORDS_OF),
    *(Feature(f"log characters {script}", 7) for script in _SCRIPTS),
    Feature("mean log rank of pieces", 11),
    Feature("share of pieces beyond rank 12,000", 1, small=True),
    Feature("share of pieces beyond rank 20,000", 1, small=True),
    Feature("log pieces", 7),
    Feature("pieces in a word", 8),
)
"""Of each place in what `lexical` gives: its name and range. Logarithms are natural, of 1 + the count."""
LEXICAL = len(FEATURES)
PLACE: dict[str, int] = {feature.name: place for place, feature in enumerate(FEATURES)}


def lexical(text: str, pieces: Sequence[int]) -> list[float]:
    """The LEXICAL numbers of a text. `pieces`: the ids of its word pieces; in the vocabulary, frequent ones come first.

    Of a long text only the beginning and the end are read (`clip_text`), and its whole length.
    """
    read = clip_text(text)
    letters = _LETTERS.findall(read)
    options = list(_OPTION.finditer(read))
    asks = read[: options[0].start()] if options else read
    return [
        *_sizes(text, read, asks, letters),
        *_of_options([option[1] for option in options[:MOST_OPTIONS]]),
        *_of_numbers(read),
        *_shape(read, asks, letters),
        *(math.log(read.count(mark) + 1) for mark in _MARKS),
        *_kinds(letters),
        *_scripts(read),
        *_ranks(pieces, len(letters)),
    ]


MOST_OPTIONS = 100
MOST_NUMBERS = 40
"""Of the numbers, the first that are compared for the largest."""
FIRST_LETTERS = 600
"""Characters from the beginning whose script is counted."""

_LETTERS = re.compile(r"[A-Za-z]+")
# Not \s: it takes newlines, and many of them would be read again from each.
_OPTION = re.compile(r"(?:^|\n)[ \t]*\(?[A-J][.):][ \t]+([^\n]*)")
_NUMERIC = re.compile(r"^[\s$+\-−–~(]*[\d.,/^ ×x*+\-−()e%°$]*\d[\d.,/^ ×x*+\-()e%°]*\s*\S{0,12}$")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SENTENCE_END = re.compile(r"[.?!](?:\s|$)")
_TEX = re.compile(r"\\[a-zA-Z]+")


def _sizes(text: str, read: str, asks: str, letters: list[str]) -> list[float]:
    sentences = len(_SENTENCE_END.findall(asks)) + 1
    many = max(len(letters), 1)
    return [
        math.log(len(text) + 1),
        math.log(many),
        sum(map(len, letters)) / many,
        math.log(read.count("\n") + 1),
        math.log(len(asks) + 1),
        math.log(sentences),
        len(asks) / sentences / 100,
    ]


def _of_options(options: list[str]) -> list[float]:
    if not options:
        return [0.0] * 7
    many = len(options)
    lengths = [len(option) for option in options]
    mean = sum(lengths) / many
    spread = math.sqrt(sum((length - mean) ** 2 for length in lengths) / many)
    return [
        many,
        math.log(mean + 1),
        math.log(spread + 1),
        spread / (mean + 1),
        math.log(max(lengths) + 1),
        sum(1 for option in options if option and _NUMERIC.match(option[:40])) / many,
        sum(1 for option in options if " " not in option.strip()) / many,
    ]


def _of_numbers(read: str) -> list[float]:
    numbers = _NUMBER.findall(read)
    return [
        sum(map(len, numbers)) / max(len(read), 1),
        math.log(len(numbers) + 1),
        math.log(sum("." in number for number in numbers) + 1),
        math.log(max(map(_value, numbers[:MOST_NUMBERS]), default=0.0) + 1),
    ]


def _value(number: str) -> float:
    """What a number is worth; 0 for one that is none (2.1.3) or has more than 15 digits."""
    plain = number.replace(",", "")
    return float(plain) if len(plain) <= 15 and plain.count(".") <= 1 else 0.0


def _shape(read: str, asks: str, letters: list[str]) -> list[float]:
    many = max(len(letters), 1)
    distinct = len(set(letters))
    last = asks.rstrip()[-1:]
    return [
        _beyond_ascii(read),
        sum(map(str.isupper, letters)) / many,
        distinct / many,
        distinct / many**0.7,
        float(last == "?"),
        float(last == ":"),
        float(last == "."),
        math.log(len(_TEX.findall(read)) + 1),
        float("```" in read or "def " in read),
        float("Q:" in read[:4]),
        max(map(len, letters), default=0),
    ]


def _beyond_ascii(read: str) -> float:
    return 0.0 if read.isascii() else 1 - len(read.encode("ascii", "ignore")) / len(read)


_KIND = {word: kind for kind, listed in enumerate(_WORDS_OF.values()) for word in listed.split()}


def _kinds(letters: list[str]) -> list[float]:
    counts = [0] * len(_WORDS_OF)
    for word in letters:
        kind = _KIND.get(word.lower())
        if kind is not None:
            counts[kind] += 1
    return [math.log(count + 1) for count in counts]


def _scripts(read: str) -> list[float]:
    if read.isascii():
        return [0.0] * len(_SCRIPTS)
    points = np.fromiter(map(ord, read[:FIRST_LETTERS]), np.int32)
    return [math.log(int(((points >= first) & (points < end)).sum()) + 1) for first, end in _SCRIPTS.values()]


def _ranks(pieces: Sequence[int], words: int) -> list[float]:
    """How rare the pieces of the text are. Without any: what a middling text has."""
    if not pieces:
        return [7.8, 0.1, 0.03, 0.0, 1.0]
    ids = np.asarray(pieces)
    many = len(ids)
    return [
        float(np.log(ids + 1.0).mean()),
        float((ids > 12_000).sum() / many),
        float((ids > 20_000).sum() / many),
        math.log(many + 1),
        many / max(words, 1),
    ]
