"""Text that others wrote, made fit for a terminal: pure, so called directly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.cli.terminal import LONGEST_SEQUENCE, Cleaner
from pointsman.cli.wrapping import Wrapper
from pointsman.core.plain import plain_text


def cleaned(pieces: list[str], *, for_terminal: bool = True) -> str:
    cleaner = Cleaner(for_terminal=for_terminal)
    return "".join([*(cleaner.feed(piece) for piece in pieces), cleaner.end()])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jgone", "gone"),
        ("\x1b(Bset", "set"),
        ("\x1bPdevice\x1b\\after", "after"),
        ("over\rwritten", "over\nwritten"),
        ("two\r\nlines", "two\nlines"),
        ("in\u200bvis\u2066ible", "invisible"),
        ("back\x08\x08space", "backspace"),
        ("\u202eright to left", "right to left"),
        ("tabs\tand\nlines stay, so do ü and 🚂", "tabs\tand\nlines stay, so do ü and 🚂"),
        ("array[0m] is no sequence", "array[0m] is no sequence"),
    ],
)
def test_sequences_vanish_wherever_a_stream_cuts_them(text: str, expected: str) -> None:
    """A sequence that comes in two deltas would reach the terminal."""
    assert plain_text(text) == expected
    for cut in range(len(text) + 1):
        assert cleaned([text[:cut], text[cut:]]) == expected
    assert cleaned(list(text)) == expected


@pytest.mark.fault(108, "However a stream cuts it.")
@given(st.lists(st.text(alphabet="a[]0;m\x1b\x07\x9b\x9c\\ P\r", max_size=12), max_size=12))
def test_no_escape_survives_whatever_the_cuts(pieces: list[str]) -> None:
    """A model that tries combinations would find one that moves the cursor."""
    out = cleaned(pieces)
    assert not set(out) & set("\x1b\x07\x9b\x9c\r")


@given(st.lists(st.text(alphabet="ab\x1b[]\\0m\r\n\x07\x9d\x9c", max_size=6), max_size=8))
def test_the_cuts_change_nothing(pieces: list[str]) -> None:
    """The same answer would look different from one run to the next."""
    assert cleaned(pieces) == cleaned(["".join(pieces)])


def test_a_sequence_without_an_end_does_not_swallow_the_answer() -> None:
    """A model could hide all that it says after one byte."""
    text = "\x1b]0;" + "x" * (2 * LONGEST_SEQUENCE)
    assert cleaned([text]).count("x") == 2 * LONGEST_SEQUENCE
    assert cleaned(["a\x1b]0;never closed"]) == "a]0;never closed"


def test_a_pipe_keeps_control_characters_but_no_escapes() -> None:
    """A program's output that a model quotes would be changed on its way into a file."""
    assert cleaned(["form\x0cfeed\r\n\x1b[1mbold"], for_terminal=False) == "form\x0cfeed\r\nbold"


def wrapped(pieces: list[str], width: int | None) -> str:
    wrapper = Wrapper(lambda: width)
    return "".join([*(wrapper.feed(piece) for piece in pieces), wrapper.end()])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three four", "one two\nthree four"),
        ("exactly10! more", "exactly10!\nmore"),
        ("a word-that-fits-no-line at all", "a\nword-that-fits-no-line at all"),
        ("kept\n\nas it is \n", "kept\n\nas it is \n"),
        (
            "see:\n```py\nx = 1  # a long line\n```\nand then this",
            "see:\n```py\nx = 1  # a long line\n```\nand then\nthis",
        ),
        ("    code that is indented", "    code that is indented"),
        ("| a | b | c | d | e |", "| a | b | c | d | e |"),
        ("東京は日本の首都です。", "東京は日本\nの首都で\nす。"),
        ("🚂🚂 🚂🚂 🚂🚂", "🚂🚂 🚂🚂\n🚂🚂"),
    ],
)
def test_prose_is_wrapped_between_words_wherever_the_stream_is_cut(text: str, expected: str) -> None:
    """A terminal would cut words in two; code that is wrapped cannot be pasted."""
    assert wrapped([text], 10) == expected
    assert wrapped(list(text), 10) == expected
    for cut in range(len(text)):
        assert wrapped([text[:cut], text[cut:]], 10) == expected
    assert wrapped(list(text), None) == text


@given(st.text(alphabet="ab。東 \t\n`|「", max_size=60), st.integers(1, 12))
def test_wrapping_loses_nothing_but_spaces(text: str, width: int) -> None:
    """An answer would miss what stood at the edge."""
    out = wrapped(list(text), width)
    assert "".join(out.split()) == "".join(text.split())
    assert out == wrapped([text], width)
