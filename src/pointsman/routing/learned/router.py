"""The learned router: for each prompt and model the chance of success and the cost, each with its doubt."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...core import ConfigError
from .fitted import Answers, Fitted, Report, answer, doubts, ranked
from .labels import Labels, check
from .reading import Reader, Reading, Readings, pack, unpack
from .settings import Settings
from .store import read_fitted, shipped_word_problems, write_fitted

AT_ONCE = 512
"""Prompts that are judged in one go, so that memory stays bounded."""


class Estimates(NamedTuple):
    """Of n prompts and m models; float64."""

    p: NDArray[np.float64]
    """(n, m), 0 to 1: the probability of success, or the expected score; without the margin that `predict` keeps."""
    p_sd: NDArray[np.float64]
    """(n, m): the standard error of `p` (not the spread of a single score); see `fitted.Doubt`."""
    cost: NDArray[np.float64]
    """(n, m), in the unit of the costs of the fit; NaN for a model of which no cost was known."""
    cost_sd: NDArray[np.float64]
    """(n, m): the standard deviation of a single cost."""
    novelty: NDArray[np.float64]
    """(n,), 0 (like the prompts of the fit) to 1 (like those of a task that was left out)."""


class LearnedRouter:
    """Learns from scored prompts which model does what well, and what it costs.

    With `pretrained`, what ships is used as well: a rule for word problems of school mathematics (`word_problems.py`).
    Without it, nothing is known that was fitted on outcomes. Fitting needs scipy, all else numpy alone.
    """

    def __init__(self, pretrained: bool = True, seed: int = 0, settings: Settings | None = None) -> None:
        self._word_problems = shipped_word_problems() if pretrained else None
        self._seed = seed
        self._settings = settings or Settings()
        self._reader = Reader()
        self._fitted: Fitted | None = None

    def fit(
        self,
        prompts: Sequence[str],
        tasks: Sequence[object] | None,
        scores: ArrayLike,
        costs: ArrayLike | None,
        models: Sequence[str],
    ) -> Self:
        """Learns from n prompts with scores (n, m), 0 to 1, and costs (n, m) of m models; NaN where one is unknown.

        `tasks`: a name for each prompt, or None: they are found by clustering. Rows without any score are left out,
        scores beyond 0 and 1 cut off; `report.counts` tells how many of both. Raises ValueError for lengths that do not
        agree, and TypeError for what is no text.
        """
        prompts = _texts(prompts)
        characters = [len(prompt) for prompt in prompts]
        readings = self._reader.read_many(prompts)
        return self._fit(check(readings, characters, tasks, scores, costs, models, prompts), packed=False)

    def fit_readings(
        self,
        readings: Sequence[Reading],
        characters: Sequence[float],
        tasks: Sequence[object] | None,
        scores: ArrayLike,
        costs: ArrayLike | None,
        models: Sequence[str],
    ) -> Self:
        """The same from readings and the lengths of their texts: where the texts themselves were not kept."""
        packed = not any(reading.words for reading in readings)
        keys = [reading.sentence.tobytes() + reading.lexical.tobytes() for reading in readings]
        labels = check(Readings.of(readings), characters, tasks, scores, costs, models, keys)
        return self._fit(labels, packed=packed)

    def predict(self, prompts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(p_hat, c_hat), (n, m) each: what to choose by, as p_hat - price·c_hat.

        p_hat has the margin in it (`novelty.prefer_best`): it may lie above the probability, which `estimate` tells.
        Raises TypeError for what is no text.
        """
        fitted, prompts = self._ready(), _texts(prompts)
        models = len(fitted.models)
        chances, costs = np.zeros((len(prompts), models)), np.zeros((len(prompts), models))
        for begin in range(0, len(prompts), AT_ONCE):
            part = prompts[begin : begin + AT_ONCE]
            lengths = np.array([len(prompt) for prompt in part], np.float64)
            answers = self._answer(fitted, self._reader.read_many(part), lengths)
            chances[begin : begin + AT_ONCE] = ranked(fitted, answers)
            costs[begin : begin + AT_ONCE] = answers.costs
        return chances, costs

    def estimate(self, readings: Readings, characters: Sequence[float]) -> Estimates:
        """What is expected, and how wrong that may be. characters (n,): the lengths of the texts."""
        fitted = self._ready()
        answers = self._answer(fitted, readings, np.asarray(characters, np.float64))
        p_sd, cost_sd = doubts(fitted, answers)
        priced = fitted.lines.known
        return Estimates(
            p=np.clip(answers.chances, 0, 1).astype(np.float64),
            p_sd=p_sd.astype(np.float64),
            cost=np.where(priced, answers.costs, np.nan),
            cost_sd=np.where(priced, cost_sd, np.nan),
            novelty=answers.novelty.astype(np.float64),
        )

    @property
    def models(self) -> tuple[str, ...]:
        return self._ready().models

    @property
    def success(self) -> NDArray[np.float64]:
        """(m,): the mean score of each model."""
        return self._ready().success.astype(np.float64)

    @property
    def best_single(self) -> int:
        """The place of the model that did best over all prompts, one standard error taken off."""
        return self._ready().best

    @property
    def report(self) -> Report:
        return self._ready().report

    def save(self, path: str | Path) -> None:
        """One file, written whole or not at all."""
        stream = io.BytesIO()
        write_fitted(self._ready(), stream)
        path = Path(path)
        beside = path.with_name(path.name + ".part")
        beside.write_bytes(stream.getvalue())
        beside.replace(path)

    @classmethod
    def load(cls, path: str | Path, pretrained: bool = True) -> Self:
        """Raises ConfigError for a file that is not a router, or is damaged."""
        router = cls(pretrained)
        router._fitted = read_fitted(Path(path))
        return router

    def _fit(self, labels: Labels, *, packed: bool) -> Self:
        try:
            from .fitting import fit
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] != "scipy":
                raise
            raise ConfigError('Fitting a router needs scipy: pip install "pointsman[train]" brings it.') from error
        self._fitted = fit(labels, self._settings, self._seed, self._word_problems, packed)
        return self

    def _answer(self, fitted: Fitted, readings: Readings, characters: NDArray[np.float64]) -> Answers:
        if len(characters) != len(readings.words):
            raise ValueError(f"There are {len(readings.words)} readings and {len(characters)} lengths: give one each.")
        return answer(fitted, _as_packed(readings) if fitted.packed else readings, characters, self._word_problems)

    def _ready(self) -> Fitted:
        if self._fitted is None:
            raise ValueError("This router has learnt nothing yet: call fit, or load one.")
        return self._fitted


def _texts(prompts: Sequence[str]) -> list[str]:
    if isinstance(prompts, str):
        raise TypeError("Give a sequence of prompts, not one text: its letters would be taken for prompts.")
    texts = list(prompts)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"Prompt {number} is {text!r:.60}: a prompt is a text.")
    return texts


def _as_packed(readings: Readings) -> Readings:
    """As a router sees them that was fitted on packed readings: what packing loses is lost here too."""
    rows = zip(readings.sentences, readings.lexical, strict=True)
    return Readings.of([unpack(pack(Reading(sentence, lexical, []))) for sentence, lexical in rows])
