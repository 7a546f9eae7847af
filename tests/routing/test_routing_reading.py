"""How a prompt becomes numbers: word pieces, counts, sentence vectors, and the bytes in which they are kept."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.routing.learned import CONTEXT, FEATURES, LEXICAL, SENTENCE, Reader, Terms, context, pack, unpack
from pointsman.routing.learned.lexical import PLACE
from pointsman.routing.learned.reading import BOUND, PACKED_BYTES, table
from pointsman.routing.learned.words import HEAD, TAIL, clip_text, words

READER = Reader()
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
"""Lone surrogates included: JSON can bring them."""

# As the tokenizer of all-MiniLM-L6-v2 gives them, without [CLS] and [SEP].
TOKENIZED = {
    "What is the capital of France?": [2054, 2003, 1996, 3007, 1997, 2605, 1029],
    "Électroencéphalographie: CAFÉ naïve": [16175, 10127, 21890, 21197, 24342, 2666, 1024, 7668, 15743],
    "Let $f(x) = \\frac{x^2}{3!}$; find f'(2.5).": [
        *(2292, 1002, 1042, 1006, 1060, 1007, 1027, 1032, 25312, 2278, 1063, 1060, 1034, 1016, 1065),
        *(1063, 1017, 999, 1065, 1002, 1025, 2424, 1042, 1005, 1006, 1016, 1012, 1019, 1007, 1012),
    ],
    "def add_two(numbers: list[int]) -> int:\n    return numbers[0] + 2  # sum": [
        *(13366, 5587, 1035, 2048, 1006, 3616, 1024, 2862, 1031, 20014, 1033, 1007, 1011, 1028, 20014, 1024),
        *(2709, 3616, 1031, 1014, 1033, 1009, 1016, 1001, 7680),
    ],
    "Donaudampfschifffahrtsgesellschaft": [
        *(24260, 14066, 8737, 10343, 5428, 4246, 7011, 8093, 3215, 8449, 5349, 26527),
    ],
    "“Don’t” — she said…": [1523, 2123, 1521, 1056, 1524, 1517, 2016, 2056, 1529],
    "Привет, мир! Ελληνικά": [
        *(1194, 16856, 10325, 25529, 15290, 22919, 1010, 1191, 10325, 16856, 999),
        *(1159, 29727, 29727, 24824, 16177, 18199, 29726, 14608),
    ],
    "A. 1,000 km/h\n(B) 3.14e-5\tC) none": [
        *(1037, 1012, 1015, 1010, 2199, 2463, 1013, 1044, 1006, 1038, 1007, 1017, 1012, 2403, 2063),
        *(1011, 1019, 1039, 1007, 3904),
    ],
    "snake_case CamelCase https://example.org/a?b=c&d=%20": [
        *(7488, 1035, 2553, 19130, 18382, 16770, 1024, 1013, 1013, 2742, 1012, 8917, 1013, 1037, 1029),
        *(1038, 1027, 1039, 1004, 1040, 1027, 1003, 2322),
    ],
    " \n\t ": [],
}

RUBBISH = {
    "empty": "",
    "NUL": "\x00",
    "a lone surrogate": "\ud800 what?",
    "emoji": "😀👩‍👩‍👧 what is this?",
    "Chinese": "日本語のテキストと中文，以及 English?",
    "Arabic": "ما هي عاصمة فرنسا؟",
    "accents alone": "e" + "\u0301" * 5_000,
    "1 MB of one letter": "x" * 1_000_000,
    "1 MB of words": "word another " * 77_000,
    "1 MB of line ends": "\n" * 1_000_000,
    "1 MB of blanks and tabs": "\n\t \t" * 250_000,
    "1 MB of bytes": bytes(range(256)).decode("latin1") * 4_000,
    "bytes that are no text": bytes(range(255, -1, -1)).decode("utf-8", "surrogateescape") * 100,
    "options without end": "\nA. 1111111111111111111111111111111111111 aa bb" * 20_000,
    "empty options": "\nB. " * 100_000,
    "digits": "1" * 100_000,
    "points": "1.1," * 100_000,
    "Arabic digits": "٣.٣" * 10_000,
    "backslashes": "\\" * 100_000,
}


@pytest.mark.parametrize(("text", "ids"), TOKENIZED.items())
def test_word_pieces_are_those_of_the_model_that_the_table_was_fitted_to(text: str, ids: list[int]) -> None:
    """Other pieces would look up other words' vectors: what a prompt is about would be read wrong."""
    assert table().tokenizer.ids(text, 1_000) == ids


def test_word_pieces_end_where_they_are_told_to() -> None:
    """A page of words would be looked up whole although its beginning is enough."""
    assert table().tokenizer.ids("tokenization " * 5, 3) == [19204, 3989, 19204]


def test_prompts_about_the_same_are_nearer_than_others() -> None:
    """The router could not carry over from one prompt to another that means the same."""
    asked, alike, other = READER.read_many(
        [
            "Which drug treats high blood pressure?",
            "What medicine would a physician prescribe against hypertension?",
            "Write a Python function that reverses a linked list.",
        ]
    ).sentences
    assert asked @ alike > asked @ other + 0.2


@pytest.mark.parametrize("text", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_read_in_bounded_time(text: str) -> None:
    """A strange or enormous prompt would stop the server, or be answered with an error instead of a decision."""
    started = time.process_time()
    reading = READER.read(text)
    kept = unpack(pack(reading))
    assert time.process_time() - started < 1
    assert np.isfinite(reading.lexical).all()
    assert np.isfinite(context(reading)).all()
    for sentence in (reading.sentence, kept.sentence):
        assert sentence.shape == (SENTENCE,)
        assert np.linalg.norm(sentence) == pytest.approx(1, abs=1e-5) or not sentence.any()


@given(ANY_TEXT)
def test_a_reading_is_kept_in_few_bytes(text: str) -> None:
    """A ledger without prompts could not be learned from, or would grow without end."""
    reading = READER.read(text)
    packed = pack(reading)
    assert len(packed) == PACKED_BYTES <= 180
    kept = unpack(packed)
    assert kept.words == []
    assert pack(kept) == packed
    for feature, before, after in zip(FEATURES, reading.lexical.tolist(), kept.lexical.tolist(), strict=True):
        if before <= feature.highest:
            step = feature.highest / 255
            allowed = step * (2 * (before * feature.highest) ** 0.5 + step) if feature.small else step
            assert after == pytest.approx(before, abs=allowed), feature.name


def test_a_kept_sentence_still_points_the_same_way() -> None:
    """What was learned from the ledger would hold for other prompts than those that were recorded."""
    readings = [READER.read(text) for text in TOKENIZED if text.strip()]
    kept = [unpack(pack(reading)) for reading in readings]
    likeness = np.array([[before.sentence @ after.sentence for after in kept] for before in readings])
    assert (likeness.argmax(1) == np.arange(len(readings))).all()


@pytest.mark.parametrize("cut", [b"", b"\x01", None, b"\x00" * PACKED_BYTES, b"\x02" * PACKED_BYTES])
def test_bytes_that_are_no_packed_reading_are_refused(cut: bytes | None) -> None:
    """A row of another version would be taken for a prompt that nobody asked."""
    packed = pack(READER.read("What?"))[:-1] if cut is None else cut
    with pytest.raises(ValueError, match="A packed reading has"):
        unpack(packed)


@given(ANY_TEXT)
def test_a_context_is_bounded_and_begins_with_one(text: str) -> None:
    """One strange prompt would outweigh all others in what a bandit has learned."""
    vector = context(READER.read(text))
    assert vector.shape == (CONTEXT,)
    assert vector[0] == 1
    assert np.abs(vector).max() <= BOUND


@given(ANY_TEXT)
def test_a_kept_reading_has_the_context_that_was_acted_on(text: str) -> None:
    """Feedback that comes later would be booked on another context than the one that was decided by."""
    reading = READER.read(text)
    assert np.abs(context(unpack(pack(reading))) - context(reading)).max() < 0.05


def test_the_context_of_nothing_is_the_middle() -> None:
    """An empty prompt would look like one of a certain subject."""
    assert not context(READER.read(""))[1:9].any()


def test_reading_is_the_same_in_each_process() -> None:
    """A recorded decision could not be repeated byte for byte."""
    text = "Prove that √2 is irrational. A. yes\nB. no"
    script = (
        "import sys; from pointsman.routing.learned import Reader, pack;"
        "sys.stdout.buffer.write(pack(Reader().read(sys.argv[1])))"
    )
    for seed in ("1", "2"):
        command = [sys.executable, "-X", "utf8", "-c", script, text]
        other = subprocess.run(command, capture_output=True, check=True, env={"PYTHONHASHSEED": seed})
        assert other.stdout == pack(READER.read(text))


def test_only_the_beginning_and_the_end_of_a_long_text_are_read() -> None:
    """The cost of a decision would grow with the prompt."""
    begin, end = "What is this? " * 600, " Explain the law in short. " * 200
    one = READER.read(begin + "aaaa " * 50_000 + end)
    other = READER.read(begin + "bbbb " * 50_000 + end)
    assert (one.lexical == other.lexical).all()
    assert one.words == other.words
    assert len(clip_text(begin + end)) == HEAD + TAIL + 1


def test_many_texts_are_read_as_each_of_them() -> None:
    """What is fitted on a batch would not hold for one prompt."""
    texts = ["One?", "", "Three, four."]
    many = READER.read_many(texts)
    for row, text in enumerate(texts):
        one = READER.read(text)
        assert (many.sentences[row] == one.sentence).all()
        assert (many.lexical[row] == one.lexical).all()
        assert many.words[row] == one.words
    assert READER.read_many([]).sentences.shape == (0, SENTENCE)
    assert READER.read_many([]).lexical.shape == (0, LEXICAL)


OPTIONS = "Which one?\nA. red\nB. blue"
PAIRS = {
    "log characters": ("Hi", "Hi, how do you do?"),
    "log words": ("one two", "one two three"),
    "letters in a word": ("a bc", "abc defg"),
    "log lines": ("a b", "a\nb"),
    "log characters of the question": (OPTIONS, "Tell me: " + OPTIONS),
    "log sentences": ("It rains, it pours", "It rains. It pours"),
    "hundreds of characters in a sentence": ("It rains. It pours", "It rains, it pours"),
    "options": (OPTIONS, OPTIONS + "\nC. green"),
    "log characters in an option": ("?\nA. a\nB. b", "?\nA. aaa\nB. bbb"),
    "log spread of the options' lengths": ("?\nA. aa\nB. bb", "?\nA. a\nB. bbb"),
    "relative spread of the options' lengths": ("?\nA. aa\nB. bb", "?\nA. a\nB. bbb"),
    "log characters of the longest option": ("?\nA. a\nB. b", "?\nA. a\nB. bbb"),
    "share of options that are numbers": (OPTIONS, "How much?\nA. 3 km\nB. -2.5"),
    "share of options of one word": ("?\nA. dark red\nB. blue", OPTIONS),
    "share of digits": ("in 5 years", "in 55 years"),
    "log numbers": ("1 of three", "1 of 3"),
    "log numbers with a point": ("3 or 4", "3.5 or 4"),
    "log largest number": ("3 or 4", "3 or 1,000"),
    "share of characters beyond ASCII": ("cafe", "café"),
    "share of words in capitals": ("who is it", "WHO is it"),
    "share of distinct words": ("a a b", "a c b"),
    "distinct words by words^0.7": ("a a b", "a c b"),
    "question ends with ?": ("Is it.", "Is it?"),
    "question ends with :": ("Is it.", "It is:"),
    "question ends with .": ("Is it?", "It is. "),
    "log commands of TeX": ("alpha", "\\alpha"),
    "code": ("a b", "```\na b\n```"),
    "begins with Q:": ("What?", "Q: What?"),
    "letters of the longest word": ("a bc", "a bcd"),
    "log characters Latin beyond ASCII": ("cafe", "café"),
    "log characters Greek to Armenian": ("mir", "мир"),
    "log characters Hebrew to Georgian": ("salam", "سلام"),
    "log characters marks and symbols": ("x <= y", "x ≤ y"),
    "log characters CJK and emoji": ("nihon", "日本"),
    "mean log rank of pieces": ("the of", "photon quartz"),
    "share of pieces beyond rank 12,000": ("the of", "the quark"),
    "share of pieces beyond rank 20,000": ("the of", "the quark"),
    "log pieces": ("the", "the of"),
    "pieces in a word": ("the of", "Donaudampfschiff"),
}
WORD_OF = {
    "negation": "not",
    "which": "which",
    "what": "what",
    "who": "whom",
    "when": "year",
    "where": "country",
    "why": "because",
    "how": "how",
    "how many": "many",
    "statements": "statement",
    "best": "most",
    "following": "following",
    "calculate": "compute",
    "find": "find",
    "prove": "derive",
    "probability": "variance",
    "program": "python",
    "suppose": "assume",
    "if": "then",
    "amounts": "twice",
    "write": "compose",
    "explain": "discuss",
    "all of these": "above",
    "passage": "author",
    "they": "she",
    "you": "your",
    "the": "the",
    "of": "of",
    "is": "were",
    "and": "or",
    "algebra": "polynomial",
    "law": "plaintiff",
    "medicine": "disease",
    "physics": "velocity",
    "economics": "tax",
}
MOVES = (
    PAIRS
    | {f"log marks {mark}": ("a b", f"a {mark} b") for mark in "?$\\=^%({\":;,_'-/*"}
    | {f"log words of {kind}": ("Zebra", f"Zebra {word.upper()}") for kind, word in WORD_OF.items()}
)


def test_each_feature_has_a_name_of_its_own() -> None:
    """A card or an explanation could not say what a decision stood on."""
    assert len(PLACE) == len(FEATURES) == LEXICAL == len(READER.read("").lexical)
    assert set(MOVES) == set(PLACE)


@pytest.mark.parametrize("name", MOVES)
def test_a_feature_counts_what_its_name_says(name: str) -> None:
    """The router would learn from something else than what it says it learns from."""
    less, more = (READER.read(text).lexical[PLACE[name]] for text in MOVES[name])
    assert 0 <= less < more <= FEATURES[PLACE[name]].highest


def test_words_are_lower_case_without_marks() -> None:
    """The same word would count as several."""
    assert words("The DOG's 2nd café_x, naïve?") == ["the", "dog", "s", "2nd", "café", "x", "naïve"]


def test_a_term_weighs_by_how_rare_it_is() -> None:
    """Words that stand in every prompt would drown those that tell prompts apart."""
    documents = [["a", "b"], ["a", "c"], ["a", "b", "a"]]
    terms = Terms.of(documents, in_documents=2, at_most=10)
    assert terms.terms == ("a", "a b", "b")
    assert terms.idf == pytest.approx([1, 1 + np.log(4 / 3), 1 + np.log(4 / 3)])
    columns, weights = terms.row(["a", "b", "a", "x"])
    raw = np.array([(1 + np.log(2)) * terms.idf[0], terms.idf[2], terms.idf[1]])
    assert columns.tolist() == [0, 2, 1]
    assert weights == pytest.approx(raw / np.linalg.norm(raw))
    assert terms.dot(["a", "b", "a", "x"], np.eye(3, dtype=np.float32)) == pytest.approx(weights[[0, 2, 1]])


def test_the_most_widespread_terms_are_kept_and_an_unknown_document_is_zeros() -> None:
    """A vocabulary without end would fill memory; a prompt of unknown words would fail."""
    terms = Terms.of([["a", "b"], ["a"]], in_documents=1, at_most=2)
    assert terms.terms == ("a", "a b")
    assert terms.dot(["z"], np.ones((2, 3), np.float32)).tolist() == [0, 0, 0]
    nothing = Terms.of([], in_documents=1, at_most=2)
    assert len(nothing) == 0
    assert nothing.dot(["z"], np.ones((0, 3), np.float32)).tolist() == [0, 0, 0]
