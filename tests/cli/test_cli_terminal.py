"""Text that others wrote, made fit for a terminal: pure, so called directly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.cli.terminal import LONGEST_SEQUENCE, Cleaner, plain


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
        ("over\rwritten", "overwritten"),
        ("back\x08\x08space", "backspace"),
        ("\u202eright to left", "right to left"),
        ("tabs\tand\nlines stay, so do ü and 🚂", "tabs\tand\nlines stay, so do ü and 🚂"),
        ("array[0m] is no sequence", "array[0m] is no sequence"),
    ],
)
def test_sequences_vanish_wherever_a_stream_cuts_them(text: str, expected: str) -> None:
    """A sequence that comes in two deltas would reach the terminal."""
    assert plain(text) == expected
    for cut in range(len(text) + 1):
        assert cleaned([text[:cut], text[cut:]]) == expected
    assert cleaned(list(text)) == expected


@given(st.lists(st.text(alphabet="a[]0;m\x1b\x07\x9b\x9c\\ P\r", max_size=12), max_size=12))
def test_no_escape_survives_whatever_the_cuts(pieces: list[str]) -> None:
    """A model that tries combinations would find one that moves the cursor."""
    out = cleaned(pieces)
    assert not set(out) & set("\x1b\x07\x9b\x9c\r")


@given(st.lists(st.text(alphabet="ab\x1b[m", max_size=6), max_size=8))
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
