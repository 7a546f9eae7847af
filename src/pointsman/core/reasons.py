"""Why candidates cannot serve, told once for all that have one kind of reason: dozens may differ in a price alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

GROUPED_FROM = 3
"""So many models with one kind of reason share a line."""


def grouped(reasons: Mapping[str, str]) -> dict[str, str]:
    """Model → why it cannot serve, as who → why. Where reasons are the same but for their figures, models stand
    together, with the least and the greatest of each figure."""
    kinds: dict[str, dict[str, str]] = {}
    for model, reason in reasons.items():
        general = _ENDPOINT.sub("", _ACCOUNT.sub(r"\1", reason))
        kinds.setdefault(_FIGURE.sub("\0", general), {})[model] = general
    told: dict[str, str] = {}
    for alike in kinds.values():
        names = list(alike)
        if len(names) < GROUPED_FROM:
            told |= {name: _ACCOUNT.sub(r"\1", reasons[name]) for name in names}
        else:
            told[f"{names[0]}, {names[1]} and {len(names) - 2} more"] = _together(list(alike.values()))
    return told


_FIGURE = re.compile(r"(?<![\w/.:-])\$?\d+(?:,\d{3})*(?:\.\d+)?(?![\w/:-]|[.,]\d)")
"""A sum, a time, a number of tokens; not what is a part of a name."""
_ACCOUNT = re.compile(r"^(The account .+?), of \S+,")
"""All models of an account share its limits."""
_ENDPOINT = re.compile(r"^\S+/\S+ (?=has |is )")
"""A model's own name before what is said of it."""


def _together(reasons: Sequence[str]) -> str:
    """Reasons of one kind as one: of figures that differ the least and the greatest."""
    columns = zip(*(_FIGURE.findall(reason) for reason in reasons), strict=True)
    ranges = iter([_range(set(column)) for column in columns])
    return _FIGURE.sub(lambda _: next(ranges), reasons[0])


def _range(figures: set[str]) -> str:
    ordered = sorted(figures, key=lambda figure: float(figure.strip("$").replace(",", "")))
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"
