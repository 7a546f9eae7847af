"""A prompt as numbers, the same for whoever learns from them: what it is about, what can be counted in it, its words.

What it is about comes from a table that holds a vector for each word piece. The table was fitted on text alone, so that
a mean of its rows comes near to the sentence vector of all-MiniLM-L6-v2 (`training/README.md`): no network runs here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .lexical import FEATURES, LEXICAL, PLACE, lexical
from .wordpiece import WordPiece
from .words import clip_text, words

SENTENCE = 256
"""Numbers in a sentence vector."""
KEPT = 64
"""Numbers of it that a packed reading keeps."""
PIECES_IN_VECTOR = 256
PIECES_COUNTED = 1_000
"""Word pieces, from the beginning of the text, that make the sentence vector, and that are counted."""

PACKED_VERSION = 1
PACKED_BYTES = 1 + KEPT + LEXICAL

COMPONENTS = 8
CONTEXT = 1 + COMPONENTS + 5
"""Numbers in a bandit's vector."""
BOUND = 1.5
"""What none of them exceeds."""


class Reading(NamedTuple):
    """One text."""

    sentence: NDArray[np.float32]
    """(SENTENCE,), of length 1; zeros where no piece of the text is known."""
    lexical: NDArray[np.float32]
    """(LEXICAL,), in the order of `FEATURES`."""
    words: list[str]


class Readings(NamedTuple):
    """n texts."""

    sentences: NDArray[np.float32]
    """(n, SENTENCE)."""
    lexical: NDArray[np.float32]
    """(n, LEXICAL)."""
    words: list[list[str]]

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> Readings:
        many = len(readings)
        return cls(
            np.array([reading.sentence for reading in readings], np.float32).reshape(many, SENTENCE),
            np.array([reading.lexical for reading in readings], np.float32).reshape(many, LEXICAL),
            [reading.words for reading in readings],
        )


class Reader:
    """Reads texts. The table is loaded by the first read of a process, and shared by all readers."""

    def read(self, text: str) -> Reading:
        shipped = table()
        pieces = shipped.tokenizer.ids(clip_text(text), PIECES_COUNTED)
        return Reading(
            shipped.sentence(pieces[:PIECES_IN_VECTOR]), np.array(lexical(text, pieces), np.float32), words(text)
        )

    def read_many(self, texts: Sequence[str]) -> Readings:
        return Readings.of([self.read(text) for text in texts])


def pack(reading: Reading) -> bytes:
    """A reading without its words in PACKED_BYTES bytes, for the ledger.

    It holds no text, though whoever guesses a text can see that the guess fits.

    Version u8; the sentence's KEPT numbers as i8, ±127 for the largest; each lexical number as u8 over its range in
    `FEATURES` (of its square root where it is `small`).
    """
    kept = table().kept(reading.sentence)
    largest = float(np.abs(kept).max()) or 1.0
    steps: NDArray[np.float32] = np.rint(kept * (127 / largest))
    share: NDArray[np.float32] = np.clip(np.nan_to_num(reading.lexical) / _HIGHEST, 0, 1)
    levels: NDArray[np.float32] = np.rint(np.where(_SMALL, np.sqrt(share), share) * 255)
    return bytes([PACKED_VERSION]) + steps.astype(np.int8).tobytes() + levels.astype(np.uint8).tobytes()


def unpack(packed: bytes) -> Reading:
    """What was packed, nearly: see `training/README.md` for how near. It has no words.

    Raises ValueError for bytes that `pack` did not make, or that one of another version made.
    """
    if len(packed) != PACKED_BYTES or packed[0] != PACKED_VERSION:
        raise ValueError(
            f"A packed reading has {PACKED_BYTES} bytes and begins with {PACKED_VERSION}; this one has {len(packed)}"
            + (f" and begins with {packed[0]}." if packed else ".")
        )
    kept = np.frombuffer(packed, np.int8, KEPT, 1).astype(np.float32)
    share = np.frombuffer(packed, np.uint8, LEXICAL, 1 + KEPT).astype(np.float32) / 255
    return Reading(table().axes.T @ _unit(kept), np.where(_SMALL, share * share, share) * _HIGHEST, [])


def context(reading: Reading) -> NDArray[np.float32]:
    """The vector (CONTEXT,) on which a bandit's estimates are linear, each number within ±BOUND.

    1; the sentence's COMPONENTS principal components, a third of their standard deviations; then log length, code,
    digits, characters beyond ASCII and question marks. A reading that was packed has the same context, nearly.
    """
    counted = reading.lexical
    vector = np.array(
        [
            1.0,
            *table().principal(reading.sentence),
            (counted[PLACE["log characters"]] - 5.5) / 3,
            counted[PLACE["code"]],
            4 * counted[PLACE["share of digits"]],
            counted[PLACE["share of characters beyond ASCII"]],
            counted[PLACE["log marks ?"]] / 2,
        ],
        np.float32,
    )
    return np.clip(np.nan_to_num(vector), -BOUND, BOUND)


_HIGHEST = np.array([feature.highest for feature in FEATURES], np.float32)
_SMALL = np.array([feature.small for feature in FEATURES])


class Table(NamedTuple):
    """What lies in weights/table.npz, which `training/token_table.py` writes."""

    tokenizer: WordPiece
    vectors: NDArray[np.int8]
    """(pieces, SENTENCE), in steps of `scale`. Pieces that were left out are blank, so that an id stays a rank."""
    scale: NDArray[np.float32]
    """(pieces,)."""
    axes: NDArray[np.float32]
    """(KEPT, SENTENCE): orthonormal, the main axes of sentence vectors."""
    middle: NDArray[np.float32]
    """(KEPT,): the mean of unit vectors on those axes."""
    components: NDArray[np.float32]
    """(COMPONENTS, KEPT): their principal components, each divided by three of its standard deviations."""

    def sentence(self, pieces: list[int]) -> NDArray[np.float32]:
        """(SENTENCE,): the direction of the sum of the pieces' vectors."""
        if not pieces:
            return np.zeros(SENTENCE, np.float32)
        return _unit(self.scale[pieces] @ self.vectors[pieces].astype(np.float32))

    def kept(self, sentence: NDArray[np.float32]) -> NDArray[np.float32]:
        """(KEPT,): the sentence on the main axes, of length 1 again; zeros stay zeros."""
        return _unit(self.axes @ sentence)

    def principal(self, sentence: NDArray[np.float32]) -> NDArray[np.float32]:
        """(COMPONENTS,): read off what packing keeps; zeros, the middle, for a sentence of which nothing is known."""
        kept = self.kept(sentence)
        return self.components @ (kept - self.middle) if kept.any() else np.zeros(COMPONENTS, np.float32)


@cache
def table() -> Table:
    """The table of this process."""
    with (
        resources.files(__package__).joinpath("weights/table.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        return Table(
            WordPiece(stored["vocabulary"].tobytes().decode().split("\n")),
            stored["vectors"],
            stored["scale"],
            stored["axes"],
            stored["middle"],
            stored["components"],
        )


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector / max(math.sqrt(float(vector @ vector)), 1e-9)
