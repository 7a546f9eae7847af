"""A comparison as JSON."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from ..core import Nanos, Usage, to_usd
from ..core.plain import ascii_escaped
from ..judging.agreement import RULE
from .compare import Comparison, EngineResult
from .report import prompt_text, settings


def to_json(comparison: Comparison) -> str:
    """One object. Money is a decimal string in US dollars, null where it is unknown; texts are word for word."""
    report = _Report(
        run_id=comparison.run_id,
        at=comparison.at,
        prompt=prompt_text(comparison.prompt, clean=False),
        settings=dict(settings(comparison)),
        stopped=comparison.stopped,
        engines_total=len(comparison.engines),
        succeeded=comparison.succeeded,
        failed=len(comparison.engines) - comparison.succeeded,
        cost=_Cost(_usd(_total(comparison.engines))),
        engines=[_engine(result) for result in comparison.engines],
        agreement=_Agreement(
            rule=RULE,
            unanimous=comparison.agreement.unanimous,
            answers=[_Answers(c.text, len(c.engines), c.engines) for c in comparison.agreement.clusters],
            compared=comparison.agreement.compared,
            shared_words=comparison.agreement.shared,
            diff=comparison.agreement.diff,
        ),
    )
    text = msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
    return ascii_escaped(text) + "\n"


class _Usage(Struct, frozen=True):
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    reasoning_tokens: int
    estimated: bool


class _Cost(Struct, frozen=True):
    usd: str | None


class _Error(Struct, frozen=True):
    type: str
    message: str


class _Engine(Struct, frozen=True):
    engine: str
    status: str
    model: str | None
    endpoint: str | None
    text: str
    finish: str | None
    seconds: float
    ttft_ms: float | None
    usage: _Usage | None
    cost: _Cost
    error: _Error | None


class _Answers(Struct, frozen=True):
    text: str
    count: int
    engines: tuple[str, ...]


class _Agreement(Struct, frozen=True):
    rule: str
    unanimous: bool
    answers: list[_Answers]
    compared: tuple[str, ...]
    shared_words: float | None
    diff: tuple[str, ...]


class _Report(Struct, frozen=True):
    run_id: str
    at: str
    prompt: str
    settings: dict[str, str]
    stopped: bool
    engines_total: int
    succeeded: int
    failed: int
    cost: _Cost
    engines: list[_Engine]
    agreement: _Agreement


def _engine(result: EngineResult) -> _Engine:
    return _Engine(
        engine=result.name,
        status=result.status,
        model=result.model or None,
        endpoint=result.endpoint or None,
        text=result.text,
        finish=result.finish,
        seconds=round(result.seconds, 3),
        ttft_ms=None if result.ttft is None else round(result.ttft * 1000, 1),
        usage=_usage(result.usage) if result.usage else None,
        cost=_Cost(_usd(result.cost)),
        error=_Error(result.error.kind, result.error.message) if result.error else None,
    )


def _usage(usage: Usage) -> _Usage:
    return _Usage(usage.input_tokens, usage.output_tokens, usage.cache_read, usage.reasoning, usage.estimated)


def _usd(cost: Nanos | None) -> str | None:
    return None if cost is None else to_usd(cost)


def _total(results: Sequence[EngineResult]) -> Nanos | None:
    """None while a part of it is unknown."""
    known = [result.cost for result in results if result.cost is not None]
    return Nanos(sum(known)) if len(known) == len(results) else None
