"""What is expected of a prompt before it is sent: its context for the learners, and what a fitted router says of it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

import numpy as np
from msgspec import structs

from ..core import from_usd
from .contexts import context_of
from .decision import Estimate, Forecast
from .expectations import log_odds
from .learned.reading import Reader, Reading, Readings, pack, unpack
from .prompt import Prompt
from .wrappers import READ_AT_MOST

if TYPE_CHECKING:
    from .learned import LearnedRouter  # which takes time to load, and most homes have fitted none

NANOS = from_usd(1)


class RouterForecaster:
    """A Forecaster that reads prompts by the token table, and asks a fitted router where there is one."""

    def __init__(self, router: LearnedRouter | None = None) -> None:
        self._reader = Reader()
        self._router = router if router is not None and router.models else None
        self._reader.read("")  # the table is loaded now, not by the first call

    @property
    def router(self) -> LearnedRouter | None:
        return self._router

    def __call__(self, prompt: Prompt) -> Forecast:
        """Of a prompt without text (images alone, say) nothing is expected."""
        if not prompt.question:
            return Forecast()
        reading = self._reader.read(prompt.question)
        expected = self._expected(reading, len(prompt.question))
        return structs.replace(expected, context=context_of(prompt, reading), vector=pack(reading))

    def recall(self, prompt: Prompt | None) -> Forecast:
        """What the router expects of a prompt that was read earlier, and whose text is gone: over all prompts, where
        no vector of it was kept."""
        try:
            reading = None if prompt is None else unpack(prompt.vector)
        except ValueError:
            reading = None
        if prompt is not None and reading is not None:
            return self._expected(reading, min(prompt.question_chars, READ_AT_MOST))
        usual = self._usual()
        return Forecast(
            quality={model: Estimate(success, source="learned") for model, success in usual.items()},
            usual=usual,
            demand=Estimate(0.0) if usual else None,
        )

    def vector(self, prompt: Prompt) -> bytes:
        """What is kept of a prompt that no router was asked of; b'' for one without text."""
        return pack(self._reader.read(prompt.question)) if prompt.question else b""

    def _usual(self) -> dict[str, float]:
        router = self._router
        if router is None:
            return {}
        return {model: float(success) for model, success in zip(router.models, router.success, strict=True)}

    def _expected(self, reading: Reading, chars: int) -> Forecast:
        router = self._router
        if router is None:
            return Forecast()
        with np.errstate(over="ignore", invalid="ignore"):
            estimates = router.estimate(Readings.of([reading]), [chars])
        if not isfinite(estimates.p.sum() + estimates.p_sd.sum() + estimates.novelty[0]):
            return Forecast()  # weights that are too large for this prompt: it is chosen for as without a router
        quality = {
            model: Estimate(float(chance), float(sd), "learned")
            for model, chance, sd in zip(router.models, estimates.p[0], estimates.p_sd[0], strict=True)
        }
        usual = self._usual()
        return Forecast(
            quality=quality,
            usual=usual,
            demand=_demand(quality, usual),
            cost={
                model: Estimate(float(cost) * NANOS, float(sd) * NANOS, "learned")
                for model, cost, sd in zip(router.models, estimates.cost[0], estimates.cost_sd[0], strict=True)
                if isfinite(cost) and isfinite(sd)  # NaN where no cost was ever known
            },
            best_single=router.models[router.best_single],
            novelty=float(estimates.novelty[0]),
        )


def _demand(quality: Mapping[str, Estimate], usual: Mapping[str, float]) -> Estimate:
    """What the models of the router have in common on this prompt: what is hard for them all is hard for others."""
    harder = [log_odds(usual[model]) - log_odds(expected.value) for model, expected in quality.items()]
    return Estimate(fmean(harder), pstdev(harder), "learned")
