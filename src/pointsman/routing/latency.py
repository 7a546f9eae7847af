"""How long an answer takes: until its first content, which grows with the prompt, and while it is written."""

from __future__ import annotations

import math

from .decision import Candidate, Estimate, Prefill, Seen

SEEN_ENOUGH = 3
"""From so many timed calls on, what was measured replaces what was stated."""
DOUBTED_LENGTH = 1_000.0
"""Tokens. The doubt that the time until the first content grows with the prompt weighs as much as one answer to a
prompt so much longer than the usual one, which took no longer."""


def seconds_of(candidate: Candidate, read: int, written: Estimate, seen: Seen | None) -> Estimate | None:
    """Until the answer is whole; None where no speed is known.

    `read`: tokens of the prompt, without those that the model has in its cache. `written`: tokens of the answer.
    """
    if seen is not None and seen.timed >= SEEN_ENOUGH:
        first = _until_first_content(seen, read)
        rate = _tokens_a_second(seen) or candidate.output_rate
    elif candidate.ttft is not None:
        first = Estimate(candidate.ttft, _varies_by(candidate.ttft), "stated")
        rate = candidate.output_rate
    else:
        return None
    writing, writing_sd = (written.value / rate, written.sd / rate) if rate else (0.0, 0.0)
    return Estimate(first.value + writing, math.hypot(first.sd, writing_sd), first.source)


def _until_first_content(seen: Seen, read: int) -> Estimate:
    """A line in the length of the prompt, fitted to what was measured, through its mean.

    Its slope is that of least squares under a normal prior around 0 (ridge regression): Sxt / (Sxx + λ), with λ the
    square of DOUBTED_LENGTH. So with few answers, or with prompts that are all about as long, the mean is believed at
    any length. The noise is taken to be half of the mean; the uncertainty of the line follows from it.

    Of answers that came whole the time of reading is in the rate at which they were written: they are in the mean, and
    not in the slope.
    """
    mean, prefill = seen.ttft / seen.timed, seen.prefill
    if not prefill.answers:
        return Estimate(mean, _varies_by(mean), "measured")
    usual_length = prefill.tokens / prefill.answers
    off = read - usual_length
    seconds = max(0.0, mean + _seconds_a_token(prefill) * off)
    line_sd = _varies_by(mean) * math.sqrt(1 / prefill.answers + off**2 / _spread_of_lengths(prefill))
    return Estimate(seconds, math.hypot(_varies_by(seconds), line_sd), "measured")


def _seconds_a_token(prefill: Prefill) -> float:
    """Nothing is read in less than no time: neither the slope nor what the line says of an empty prompt is below 0."""
    if not prefill.tokens:
        return 0.0
    together = prefill.tokens_by_ttft - prefill.tokens * prefill.ttft / prefill.answers
    return min(max(together / _spread_of_lengths(prefill), 0.0), prefill.ttft / prefill.tokens)


def _spread_of_lengths(prefill: Prefill) -> float:
    """Sxx + λ, in square tokens."""
    return max(prefill.tokens_squared - prefill.tokens**2 / prefill.answers, 0.0) + DOUBTED_LENGTH**2


def _varies_by(seconds: float) -> float:
    """The time until the first content varies by about half of itself."""
    return seconds / 2


def _tokens_a_second(seen: Seen) -> float | None:
    writing = seen.seconds - seen.ttft
    return seen.output_tokens / writing if writing > 0 and seen.output_tokens else None
