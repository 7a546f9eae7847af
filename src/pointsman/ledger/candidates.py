"""What a decision weighed, packed: the candidates that could be chosen, and what was expected of each.

A row has dozens of them, so each is a few bytes. Of the rejected ones only their number is kept with a row; they lie in
the table `rejections`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from math import isfinite, nan
from typing import Final

from ..core import Weighed
from .names import Names

_CHOICE: Final = struct.Struct("<Iff")
"""names.id, score (NaN for none), probability."""
_ESTIMATE: Final = "efee"
"""quality, cost in nano-dollars, seconds, prior; NaN for what is not known. `e` has half precision: three digits."""
_LARGEST_HALF: Final = 65504.0
_LARGEST_SINGLE: Final = 3.4e38


def pack_choices(candidates: Iterable[Weighed], names: Names) -> bytes:
    """Who could be chosen: 12 bytes each."""
    return b"".join([_packed_choice(candidate, names) for candidate in candidates])


def pack_estimates(candidates: Sequence[Weighed]) -> bytes:
    """What was expected of each of the same candidates: 10 bytes each; b'' where nothing was expected of any."""
    estimates = [(one.quality, one.cost, one.seconds, one.prior) for one in candidates]
    figures = list(chain.from_iterable(estimates))
    if figures.count(None) == len(figures):
        return b""
    layout = _layout(len(candidates))
    try:
        return layout.pack(*figures)
    except (struct.error, OverflowError):  # some are None, or past what half precision holds
        held = [(_held(q), _held(c, _LARGEST_SINGLE), _held(s), _held(p)) for q, c, s, p in estimates]
        return layout.pack(*chain.from_iterable(held))


def unpack_candidates(
    choices: bytes, estimates: bytes, rejected: Iterable[tuple[str, str]], names: Names
) -> tuple[Weighed, ...]:
    """Those that could be chosen come first. `rejected` are (model, reason)."""
    count = len(choices) // _CHOICE.size
    expected: Iterable[tuple[float, ...]] = [()] * count
    if len(estimates) == struct.calcsize("<" + _ESTIMATE) * count:
        expected = struct.iter_unpack("<" + _ESTIMATE, estimates)
    return (
        *(
            Weighed(names.text(number), _seven_digits(score), _seven_digits(probability) or 0.0, "", *_read(estimate))
            for (number, score, probability), estimate in zip(
                _CHOICE.iter_unpack(choices[: count * _CHOICE.size]), expected, strict=True
            )
        ),
        *(Weighed(model, rejected=why) for model, why in rejected),
    )


def unpack_drawn(choices: bytes, estimates: bytes, names: Names) -> tuple[Weighed, ...]:
    """Those alone that might have been chosen, with their score, probability and cost, not rounded: where thousands of
    rows are read for these."""
    count = len(choices) // _CHOICE.size
    expected: Iterable[tuple[float, ...]] = [(nan,) * 4] * count
    if len(estimates) == struct.calcsize("<" + _ESTIMATE) * count:
        expected = struct.iter_unpack("<" + _ESTIMATE, estimates)
    return tuple(
        Weighed(names.text(number), score, probability, cost=cost if isfinite(cost) else None)
        for (number, score, probability), (_, cost, _, _) in zip(
            _CHOICE.iter_unpack(choices[: count * _CHOICE.size]), expected, strict=True
        )
        if probability > 0 and isfinite(score)
    )


def _packed_choice(candidate: Weighed, names: Names) -> bytes:
    score = nan if candidate.score is None else candidate.score
    number = names.number(candidate.model)
    try:
        return _CHOICE.pack(number, score, candidate.probability)
    except OverflowError:  # past what single precision holds
        return _CHOICE.pack(number, nan, 0.0)


@lru_cache(maxsize=64)
def _layout(count: int) -> struct.Struct:
    """Of so many estimates: to pack them all at once takes a third of the time."""
    return struct.Struct("<" + _ESTIMATE * count)


def _held(figure: float | None, most: float = _LARGEST_HALF) -> float:
    return figure if figure is not None and -most <= figure <= most else nan


def _read(estimate: tuple[float, ...]) -> tuple[float | None, ...]:
    """(quality, cost, seconds, prior); empty where nothing was expected of anyone."""
    if not estimate:
        return ()
    quality, cost, seconds, prior = estimate
    return _three_digits(quality), _seven_digits(cost), _three_digits(seconds), _three_digits(prior)


@lru_cache(maxsize=4096)
def _three_digits(number: float) -> float | None:
    """A number of half precision as it was written down: 0.1, not 0.0999755859375. Four or five digits where three are
    not enough to tell it from the next."""
    if not isfinite(number):
        return None
    shown = (float(f"{number:.{digits}g}") for digits in (3, 4))
    return next((short for short in shown if abs(short) <= _LARGEST_HALF and _halved(short) == number), number)


def _halved(number: float) -> float:
    return float(struct.unpack("<e", struct.pack("<e", number))[0])


def _seven_digits(number: float) -> float | None:
    """A number of single precision as it was written down: 0.1, not 0.10000000149."""
    return float(f"{number:.7g}") if isfinite(number) else None
